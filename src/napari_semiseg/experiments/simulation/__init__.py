"""A simulated annotator: what a strategy of suggestions costs and brings.

It annotates suggested slices from reference masks, corrects predictions, trains and
scores, round after round, in copies of a project.
"""

from __future__ import annotations
