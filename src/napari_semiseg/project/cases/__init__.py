"""Keep one volume of the cohort: its record, label, channels and history."""
