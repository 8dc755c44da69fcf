"""Cases on the working grid, in files."""

from __future__ import annotations

import numpy as np
import psutil

from napari_semiseg.engine.data import cache
from napari_semiseg.engine.data.cache import Cache


def test_a_cohort_of_any_size_keeps_few_files_open(ball_project, plan, monkeypatch):
    """Systems let a process open 256 or 1,024 files; a cohort has more."""
    monkeypatch.setattr(cache, "OPEN", 3)
    made = Cache(ball_project, plan)
    process = psutil.Process()
    before = process.num_fds()
    ready = [
        made.prepare(case, with_label=case.human_verified)
        for case in ball_project.cases()
    ]
    assert [one.whole for one in ready] == [True, True, False, False, False]
    for _ in range(2):
        seen = [np.array(one.image) for one in ready]
        distances = [one.intervals[0].shape for one in ready if one.whole]
        assert process.num_fds() <= before + 3
    assert len({image.tobytes() for image in seen}) == 5
    assert distances == [(2, *seen[0].shape[1:])] * 2
    assert ready[4].target is None
    assert ready[4].intervals == []
    again = made.read(ball_project.cases()[0], ready[0].version)
    assert np.array_equal(again.target, ready[0].target)
