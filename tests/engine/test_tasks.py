"""Prediction and benchmarks on a Dask cluster of this machine."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import distributed
import pytest

from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Started
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.execution.cluster import (
    ClusterExecutor,
    compute,
    connected,
    run_verb,
)
from napari_semiseg.execution.local import LocalExecutor, LocalHandle
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.runs.process import Claim
from napari_semiseg.project.runs.run import Run
from napari_semiseg.project.runs.workers import Worker

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SETTINGS = {
    "method": "supervised",
    "steps": 3,
    "width": 4,
    "patch_zyx": (16, 16, 16),
    "precision": "fp32",
    "feature_maps": False,
}


@pytest.fixture(scope="module")
def cluster():
    with connected("local:2") as made:
        yield made


@pytest.fixture
def client(cluster):
    """A client of two workers, after a test before has killed one as well."""
    cluster.wait_for_workers(2)
    return cluster


@pytest.fixture
def run(ball_project):
    list(engine.train(ball_project, TrainingConfig.build(**SETTINGS)))
    return ball_project.latest_run()


def calls(project, run, batch, names):
    sent = (str(project.folder), run.id, 3, batch, 1)
    return {f"{batch}-{name}": (*sent, name) for name in names}


def die_once(marks: str, name: str) -> str:
    """Kill the first worker that takes call "b"; the next one returns the name."""
    mark = os.path.join(marks, name)
    if name == "b" and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def predict_and_die_once(marks: str, *sent: str | int) -> str:
    """Predict a case; the first worker that predicts case_3 dies before it is stored.

    What the others have stored by then is noted in a file.
    """
    mark, predict = Path(marks, "died"), Predictor.predict

    def die(self, case, *rest):
        made = predict(self, case, *rest)
        if case.id == "case_3" and not mark.exists():
            folder = Path(sent[0], "runs", sent[1], "predictions")
            mark.write_text(json.dumps(stored(folder)))
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "predict", die)
        return engine.predict_case(*sent)


def stored(predictions: Path) -> dict[str, list[int]]:
    """Inode and time of change of each complete prediction's files."""
    return {
        str(file): [(at := file.stat()).st_ino, at.st_mtime_ns]
        for record in predictions.glob("*/prediction.json")
        for file in sorted(record.parent.iterdir())
    }


def poison(name: str) -> str:
    raise ValueError(f"{name} is poison")


def pid(_number: int) -> str:
    return str(os.getpid())


def test_each_case_is_predicted_once_by_a_model_that_stays_loaded(
    ball_project, run, client, monkeypatch
):
    sent = []
    submit = client.submit

    def noted(function, *arguments, **how):
        sent.append((function, arguments))
        return submit(function, *arguments, **how)

    monkeypatch.setattr(client, "submit", noted)
    names = [case.id for case in ball_project.cases() if case.id != "case_4"]
    results = dict(
        compute(client, engine.predict_case, calls(ball_project, run, "a", names))
    )
    assert len(results) == 4
    assert all('"predicted"' in line for line in results.values())
    assert run.predicted() == tuple(names)
    logged = [event.case for event in run.events() if event.type == "predicted"]
    assert sorted(logged) == names
    for function, arguments in sent:
        assert len(pickle.dumps(function)) < 100  # its name
        assert {type(value) for value in arguments} <= {str, int}
    by_hand = run.read_prediction("case_3", ball_project.case("case_3").geometry)
    list(engine.predict_cases(ball_project, run, [ball_project.case("case_3")]))
    again = run.read_prediction("case_3", ball_project.case("case_3").geometry)
    assert (by_hand.labels == again.labels).all()


def test_a_worker_that_is_killed_leaves_its_call_to_another(client, tmp_path):
    found = dict(compute(client, die_once, {n: (str(tmp_path), n) for n in "abcd"}))
    assert found == {name: name for name in "abcd"}


def test_a_worker_that_dies_in_a_case_leaves_it_to_another_and_all_else_alone(
    ball_project, run, client, tmp_path
):
    list(engine.predict_cases(ball_project, run, [ball_project.case("case_0")]))
    first = stored(run.folder.predictions)
    names = [case.id for case in ball_project.cases()]
    asked = calls(ball_project, run, "d", names)
    asked = {key: (str(tmp_path), *sent) for key, sent in asked.items()}
    results = dict(compute(client, predict_and_die_once, asked))
    assert all('"predicted"' in line for line in results.values())
    assert run.predicted() == tuple(names)
    known = {name: tuple(at) for name, at in stored(run.folder.predictions).items()}
    by_then = json.loads((tmp_path / "died").read_text())
    assert first.keys() <= by_then.keys()
    assert not any("case_3" in name for name in by_then)
    for name, at in by_then.items():
        assert known[name] == tuple(at), name
    logged = [event.case for event in run.events() if event.type == "predicted"]
    assert sorted(logged) == names


def test_a_poison_case_is_an_error_and_the_others_are_done(client):
    asked = {"bad": ("bad",)}
    found = dict(compute(client, poison, asked))
    assert "bad is poison" in str(found["bad"])
    assert dict(compute(client, pid, {f"p{n}": (n,) for n in range(20)}))


def test_a_stop_ends_the_tasks_of_a_command_and_none_of_another(
    ball_project, run, client
):
    worker = Worker(run.folder, "client", {"SEMISEG_BATCH": "b"})
    with worker.at_work():
        run.request_stop()
    asked = calls(ball_project, run, "b", ["case_2", "case_3"])
    found = list(compute(client, engine.predict_case, asked))
    assert [line for _, line in found] == ["", ""]  # they have heard it
    assert not list(
        compute(client, engine.predict_case, asked, lambda: worker.stop_requested)
    )
    assert run.predicted() == ()
    other = calls(ball_project, run, "c", ["case_2"])
    ((_, line),) = compute(client, engine.predict_case, other)
    assert '"predicted"' in line


def test_a_client_without_a_certificate_is_refused(monkeypatch):
    pytest.importorskip("cryptography")
    monkeypatch.setattr("napari_semiseg.execution.cluster.CONNECT_S", 3)
    security = distributed.Security.temporary()
    with distributed.LocalCluster(
        n_workers=1, processes=False, security=security, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        for tried in (address, address.replace("tls://", "tcp://")):
            with (
                pytest.raises(ProjectError, match="expected a Dask scheduler") as said,
                connected(tried),
            ):
                pass
            assert "\n" not in str(said.value)
        files = security.get_tls_config_for_role("client")
        # Dask's own settings take the texts of certificates for their files too.
        known = {
            "distributed.comm.tls.ca-file": files["ca_file"],
            "distributed.comm.tls.client.cert": files["cert"],
            "distributed.comm.tls.client.key": files["key"],
        }
        with dask.config.set(known), connected(address) as client:
            assert dict(compute(client, pid, {"1": (1,)})) == {"1": str(os.getpid())}


@pytest.mark.parametrize("address", ["local:0", "local:x", "slurm:", "http://x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ConfigError, match="expected --cluster"), connected(address):
        pass


def test_nobody_at_an_address_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr("napari_semiseg.execution.cluster.CONNECT_S", 1)
    with (
        pytest.raises(ProjectError, match="expected a Dask scheduler"),
        connected("tcp://127.0.0.1:9"),
    ):
        pass


def alone_on_its_worker(marks: str, name: str) -> str:
    """Say on which worker it is; an error where another call is there as well."""
    worker = distributed.get_worker().name
    mark = Path(marks, f"{worker}.busy")
    mark.touch(exist_ok=False)
    time.sleep(0.05)
    mark.unlink()
    return str(worker)


def test_workers_that_declare_a_gpu_do_one_task_at_a_time(tmp_path, monkeypatch):
    asked = {f"gpu-{n}": (str(tmp_path), str(n)) for n in range(16)}
    how = {"processes": False, "dashboard_address": None, "threads_per_worker": 4}
    with (
        distributed.LocalCluster(n_workers=2, resources={"GPU": 1}, **how) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = dict(compute(client, alone_on_its_worker, asked))
        assert found.keys() == asked.keys()
        assert set(found.values()) == {"0", "1"}
        given = {}
        monkeypatch.setattr(client, "submit", lambda *_, **how: given.update(how))
        ClusterExecutor(client).submit("train", ["atrium"], tmp_path / "r1" / "log")
        assert given["resources"] == {"GPU": 1}
        assert given["retries"] == 2
        assert given["key"].startswith("semiseg-train-r1-")
    with (
        distributed.LocalCluster(n_workers=1, **how) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = dict(compute(client, alone_on_its_worker, asked))
        assert any(isinstance(one, FileExistsError) for one in found.values())


def test_a_repeated_verb_waits_until_the_lost_one_counts_as_gone(
    ball_project, monkeypatch
):
    run = Run.create(ball_project, TrainingConfig.build(**SETTINGS))
    run.append(Started(run=run.id, method="supervised", pid=17, session="mark"))
    write_text(run.folder.pid, Claim(17, 1.0, "elsewhere").text)
    looks, submitted = [True, True], []

    def submit(executor, verb, *_rest):
        assert executor.tied
        assert not looks  # the other one is gone
        submitted.append(verb)
        ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(5)"])
        return LocalHandle(ended)

    monkeypatch.setattr(Claim, "holds", lambda *_: bool(looks and looks.pop()))
    monkeypatch.setattr(LocalExecutor, "submit", submit)
    monkeypatch.setattr("napari_semiseg.execution.cluster.LOOK_S", 0.01)
    assert run_verb("train", [], str(run.folder.log), "mark") == 5
    looks += [True] * 9
    run.request_stop()
    assert run_verb("train", [], str(run.folder.log), "mark") == 130
    assert submitted == ["train"]


def test_a_verb_on_a_worker_ends_with_its_code(client, tmp_path, monkeypatch):
    executor = ClusterExecutor(client)
    assert executor.parallel == 2
    sent, submit = [], client.submit

    def noted(function, *arguments, **how):
        sent.extend(arguments)
        return submit(function, *arguments, **how)

    monkeypatch.setattr(client, "submit", noted)
    handle = executor.submit("status", [str(tmp_path / "none")], tmp_path / "log.txt")
    assert [type(value) for value in sent] == [str, list, str, str]
    assert {type(word) for word in sent[1]} == {str}
    end = time.monotonic() + 200
    while handle.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    assert handle.poll() == 1
    assert "semiseg:" in (tmp_path / "log.txt").read_text()
