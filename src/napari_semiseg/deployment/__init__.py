"""Let models, studies and logs leave for where this program is not."""
