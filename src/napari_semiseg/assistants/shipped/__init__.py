"""Turn prompts into a mask by one way or another; every module here is found."""
