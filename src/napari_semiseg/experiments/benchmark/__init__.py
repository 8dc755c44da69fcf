"""The limited-annotation benchmark: every method on the same data, budget and scores.

Training sees the labelled masks and the images of the labelled and unlabelled lists.
The masks of the test list are read for scoring alone, after the last step of a run.
"""

from __future__ import annotations

TRIAL_VERB = "bench-trial"
"""Hidden verb that does one trial in a process of its own."""
