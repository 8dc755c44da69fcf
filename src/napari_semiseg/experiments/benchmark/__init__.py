"""Compare training methods on the same data, with the same budget and scores.

Training sees the labelled masks and the images of the labelled and unlabelled lists.
The masks of the test list are read for scoring alone, after the last step of a run.
"""
