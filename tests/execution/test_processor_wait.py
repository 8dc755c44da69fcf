"""Processes that share a core, and processes that have one."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from napari_semiseg.execution import processor_wait
from napari_semiseg.execution.processor_wait import ProcessorWait

BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux counts it")
def test_a_process_that_shares_a_core_with_three_others_waits():
    core = str(min(os.sched_getaffinity(0)))
    children = [subprocess.Popen([sys.executable, "-c", BUSY, core]) for _ in range(4)]
    try:
        time.sleep(1.0)
        wait = ProcessorWait(children[0].pid)
        assert not wait.starved  # nothing to compare with yet
        time.sleep(1.5)
        assert wait.share() > 0.5
        assert wait.starved
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert wait.share() is None
    assert not wait.starved


def test_only_the_last_seconds_count(monkeypatch):
    wait, clock, waited = ProcessorWait(None), [0.0], [0.0]
    monkeypatch.setattr(ProcessorWait, "_waited", lambda _self: waited[0])
    monkeypatch.setattr(processor_wait.time, "monotonic", lambda: clock[0])
    found = []
    for second in range(20):
        clock[0] = float(second)
        waited[0] += 1.0 if second < 10 else 0.0
        found.append(wait.starved)
    assert not found[0]
    assert all(found[1:11])
    assert not any(found[13:])


def test_nothing_is_known_of_a_process_elsewhere():
    assert ProcessorWait(None).share() is None
    assert not ProcessorWait(None).starved
