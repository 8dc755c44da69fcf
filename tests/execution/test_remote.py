"""Verbs on other machines: by ssh, and as jobs of SLURM."""

from __future__ import annotations

import time

import distributed
import pytest

from execution.conftest import until
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.palettes import PALETTES
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.execution import remote
from napari_semiseg.execution.cluster import ClusterExecutor
from napari_semiseg.execution.place import executor_at
from napari_semiseg.execution.slurm import SlurmExecutor
from napari_semiseg.execution.ssh import SshExecutor
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from napari_semiseg.project.settings import HOST, mapped


def code_of(handle) -> int:
    until(lambda: handle.poll() is not None)
    return handle.poll()


@pytest.fixture
def shared(tmp_path):
    """A folder here, and its name on the other machine."""
    here, there = tmp_path / "here 1", tmp_path / "there"
    here.mkdir()
    there.symlink_to(here)
    return here, {str(here): str(there)}


@pytest.fixture
def place(request):
    """Executors on the other machine, by its kind."""

    def make(roots=None):
        if request.param == "ssh":
            return SshExecutor(request.getfixturevalue("cellar"), roots or {})
        request.getfixturevalue("slurm")
        if request.param == "slurm":
            return SlurmExecutor("", roots or {}, ["--comment=test"])
        return SlurmExecutor(request.getfixturevalue("cellar"), roots or {})

    return make


BOTH = pytest.mark.parametrize("place", ["ssh", "slurm"], indirect=True)


@BOTH
def test_a_verb_there_writes_here_and_tells_its_code(place, shared):
    here, roots = shared
    word = "it's $HOME"
    handle = place(roots).submit("say", [str(here / "p"), word], here / "log.txt")
    assert code_of(handle) == 3
    name = "cellar" if isinstance(place(), SshExecutor) else "slurm"
    said = (here / "log.txt").read_text()
    assert said == f"on {name}: {roots[str(here)]}/p {word}\n"
    assert [path.name for path in here.iterdir()] == ["log.txt"]
    assert handle.pid is None
    assert handle.poll() == 3


@BOTH
def test_a_verb_there_can_be_ended(place, tmp_path):
    handle = place().submit("wait", [], tmp_path / "log.txt")
    until(lambda: handle.lives())
    assert handle.poll() is None
    time.sleep(1)  # until the shell minds signals
    handle.terminate()
    until(lambda: not handle.lives())
    if isinstance(place(), SshExecutor):
        assert code_of(handle) == 7
        assert (tmp_path / "log.txt").read_text() == "ended\n"


@BOTH
def test_one_that_is_gone_without_a_word_is_given_up(place, tmp_path, monkeypatch):
    handle = place().submit("say", [], tmp_path / "log.txt")
    until(handle.ended.exists)
    until(lambda: not handle.lives())
    handle.ended.unlink()
    monkeypatch.setattr(remote, "LOOK_S", 0.0)
    handle._next = 0.0
    assert [handle.poll() for _ in range(3)] == [None, None, 1]


def test_a_connection_that_fails_is_no_end(cellar, tmp_path, monkeypatch):
    handle = SshExecutor(cellar).submit("wait", [], tmp_path / "log.txt")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(remote, "LOOK_S", 0.0)
    handle._next = 0.0
    assert [handle.poll() for _ in range(4)] == [None] * 4
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ProjectError, match="expected an answer of 'ssh"):
        handle.terminate()  # this ssh does not know the host


def test_what_cannot_begin_there_is_refused_in_one_line(cellar, home, tmp_path):
    with pytest.raises(ProjectError, match="expected an answer of 'ssh"):
        SshExecutor("nobody.invalid").submit("say", [], tmp_path / "log.txt")
    roots = {str(tmp_path): "/nowhere"}
    with pytest.raises(ProjectError, match=r"/nowhere/log\.txt"):
        SshExecutor(cellar, roots).submit("say", [], tmp_path / "log.txt")
    program = home / "bin" / "semiseg"
    program.rename(home / "aside")
    try:
        with pytest.raises(ProjectError, match="semiseg is not on the PATH"):
            SshExecutor(cellar).submit("say", [], tmp_path / "log.txt")
    finally:
        (home / "aside").rename(program)


def test_no_slurm_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProjectError, match="expected an answer of 'sbatch"):
        SlurmExecutor().submit("say", [], tmp_path / "log.txt")


@pytest.mark.parametrize("place", ["slurm through ssh"], indirect=True)
def test_slurm_is_reached_through_ssh(place, tmp_path, slurm_conf, home):
    profile = home / ".profile"
    known = profile.read_text()
    profile.write_text(f"{known}export SLURM_CONF={slurm_conf}\n")
    try:
        handle = place().submit("say", ["a"], tmp_path / "log.txt")
        assert code_of(handle) == 3
    finally:
        profile.write_text(known)
    assert (tmp_path / "log.txt").read_text() == "on cellar: a\n"


def test_a_place_is_chosen_by_a_text(ball_project):
    path = ball_project.layout.project_file
    path.write_text(
        f'slurm = ["--gres=gpu:1"]\n{path.read_text()}\n'
        '[roots.cellar]\n"/a" = "/b"\n[roots.slurm]\n"/c" = "/d"\n'
    )
    Project.open(ball_project.folder).recolour(next(iter(PALETTES)))
    project = Project.open(ball_project.folder)
    assert executor_at("ssh:cellar", project) == SshExecutor("cellar", {"/a": "/b"})
    assert executor_at("ssh:me@other", project) == SshExecutor("me@other", {})
    gpu = ("--gres=gpu:1",)
    assert executor_at("slurm", project) == SlurmExecutor("", {"/c": "/d"}, gpu)
    through = SlurmExecutor("cellar", {"/a": "/b"}, gpu)
    assert executor_at("slurm:cellar", project) == through
    for text in ("ssh", "ssh:", "ssh:-oProxyCommand=x", "slurm:", "cloud", ""):
        with pytest.raises(ConfigError, match="expected a place as ssh:HOST"):
            executor_at(text, project)


def test_images_are_found_where_they_lie_on_this_computer(
    ball_project, spheres, tmp_path, monkeypatch
):
    moved = tmp_path / "mount"
    spheres.images.rename(moved)
    case = ball_project.cases()[0]
    assert "is missing" in case.image_problem
    path = ball_project.layout.project_file
    settings = path.read_text()
    record = ball_project.layout.case(case.id).json
    text = record.read_text()
    written = case.record.channels[0].image
    record.write_text(
        text.replace(written, spheres.images.joinpath(case.image.name).as_posix())
    )
    path.write_text(f'{settings}\n[roots.cellar]\n"{spheres.images}" = "{moved}"\n')
    monkeypatch.setenv(HOST, "cellar")
    assert Project.open(ball_project.folder).case(case.id).image_problem == ""
    monkeypatch.setenv(HOST, "other")
    assert Project.open(ball_project.folder).case(case.id).image_problem


def test_the_longest_folder_that_is_known_is_replaced():
    roots = {"/a": "/x", "/a/b": "/y/", "/c/": "/z"}
    assert mapped("/a/b/1.nii", roots) == "/y/1.nii"
    assert mapped("/a/1.nii", roots) == "/x/1.nii"
    assert mapped("/ab/1.nii", roots) == "/ab/1.nii"
    assert mapped("/c", roots) == "/z"
    assert mapped("images/1.nii", roots) == "images/1.nii"


@pytest.fixture
def elsewhere(request):
    """A place for verbs, as a user writes it."""
    if request.param == "ssh":
        yield f"ssh:{request.getfixturevalue('cellar')}"
        return
    with distributed.LocalCluster(n_workers=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.parametrize("elsewhere", ["ssh", "dask"], indirect=True)
def test_a_training_elsewhere_is_followed_and_stopped_through_the_folder(
    elsewhere, ball_project
):
    from napari_semiseg.execution.executor import start_training
    from napari_semiseg.execution.follow import follow_process

    config = TrainingConfig.build(
        method="supervised",
        steps=100_000,
        width=4,
        patch_zyx=(16, 16, 16),
        precision="fp32",
    )
    executor = executor_at(elsewhere, ball_project)
    run, handle = start_training(executor, ball_project, config)
    seen = []
    for event in follow_process(run, handle):
        seen.append(event.type)
        if event.type == "stepped" and not run.stop_requested:
            run.request_stop()
    assert (seen[0], seen[-1]) == ("started", "finished")
    assert run.status == "cancelled"
    assert run.has_model
    assert code_of(handle) == 130
    if isinstance(executor, ClusterExecutor):
        executor.client.close()
    assert not list(run.folder.path.glob("*.exit"))
    assert Run(run.folder).steps_done == event.step
