from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished
from napari_semiseg.errors import ProjectError
from napari_semiseg.execution.executor import start_training
from napari_semiseg.execution.follow import follow_process
from napari_semiseg.execution.local import NICENESS, LocalExecutor, LocalHandle

if TYPE_CHECKING:
    from pathlib import Path


EXECUTOR = LocalExecutor(low_priority=False)


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="Unix")
@pytest.mark.parametrize(("low_priority", "nicer"), [(True, NICENESS), (False, 0)])
def test_a_child_of_low_priority_leaves_the_processor_to_the_window(
    tmp_path: Path, low_priority: bool, nicer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    executor = LocalExecutor(low_priority=low_priority)
    handle = executor.submit("train", [str(tmp_path)], tmp_path / "log.txt")
    found = os.getpriority(os.PRIO_PROCESS, handle.pid)
    assert found == min(os.getpriority(os.PRIO_PROCESS, 0) + nicer, 19)
    known = tmp_path.joinpath("/proc", str(handle.pid), "environ")
    if known.exists():
        assert (b"GOMP_SPINCOUNT=300000" in known.read_bytes()) is low_priority
    handle.terminate()  # long before it has imported what it needs
    handle.process.wait(60)


def test_a_verb_runs_detached_with_its_output_in_the_log(tmp_path) -> None:
    arguments = [str(tmp_path / "none"), "--json"]
    handle = EXECUTOR.submit("status", arguments, tmp_path / "log.txt")
    assert handle.process.wait(60) == 1
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("semiseg: ")
    assert "semiseg init" in text
    if os.name == "posix":
        assert os.getsid(0) != handle.pid


PARENT = """
import sys, time
from pathlib import Path
from napari_semiseg.execution.local import LocalExecutor
folder, tied = Path(sys.argv[1]), sys.argv[2] == "tied"
sys.executable = str(folder / "program")  # in the place of the command line
executor = LocalExecutor(low_priority=False, tied=tied)
handle = executor.submit("wait", [], folder / "log.txt")
print("child", handle.pid, flush=True)
time.sleep(60)
"""
CHILD = """#!{python}
import time
from napari_semiseg.execution.local import end_with_parent
end_with_parent()
print("waits", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
@pytest.mark.parametrize("how", ["tied", "detached"])
def test_only_a_tied_child_ends_when_its_parent_is_killed(tmp_path, how) -> None:
    program, log = tmp_path / "program", tmp_path / "log.txt"
    program.write_text(CHILD.format(python=sys.executable))
    program.chmod(0o755)
    words = [sys.executable, "-c", PARENT, str(tmp_path), how]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline().split()[1]))
        end = time.monotonic() + 60
        while "waits" not in log.read_text() and time.monotonic() < end:
            time.sleep(0.05)
        parent.kill()
    _, alive = psutil.wait_procs([child], timeout=20 if how == "tied" else 1)
    assert bool(alive) is (how == "detached")
    for one in alive:
        one.kill()


def test_a_log_that_cannot_be_written_is_an_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectError, match="log"):
        EXECUTOR.submit("status", ["x"], tmp_path / "file" / "log.txt")


def test_a_training_that_refuses_leaves_no_run_behind(empty_project) -> None:
    run, handle = start_training(EXECUTOR, empty_project, TrainingConfig(steps=2))
    assert run.pid == handle.pid
    assert run.status == "preparing"
    (last,) = follow_process(run, handle, poll_s=0.05)
    assert isinstance(last, Finished)
    assert last.reason == "failed"
    assert "\n" not in (last.error or "\n")
    assert handle.poll() == 1
    assert empty_project.runs() == []


def test_a_child_can_be_terminated() -> None:
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    handle = LocalHandle(subprocess.Popen(sleeping))
    assert handle.poll() is None
    handle.terminate()
    assert handle.process.wait(10) != 0
