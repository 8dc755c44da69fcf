"""Build the Cohort tab and the dialog that imports images and masks."""
