"""Verbs, flags, exit codes and ``--json`` of the command line."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_semiseg as ss
from contract.conftest import NOBODY
from dicom_files import SHAPE, write_oblique_series
from napari_semiseg.active_learning.registry import strategies
from napari_semiseg.io.dicom.web import Archive
from napari_semiseg.project.exporting.formats import export_formats
from orthanc import PASSWORD, USER, started
from synthetic import save_nifti

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from contract.conftest import Answer
    from contract.snapshots import Snapshots

    Semiseg = Callable[..., Answer]

FILE = "json_outputs.json"
TINY = (
    *("--device", "cpu", "--set", "width=4", "--set", "patch_zyx=[8,8,8]"),
    *("--set", "spacing_mm=[2,2,2]", "--set", "labelled_batch=1"),
    *("--set", "precision=fp32"),
)
LONG = 100_000
"""Steps of a training that somebody stops."""


GROW = ("--assistant", "grow")
ANNA = ("--reader", "Anna", "--case", "case_0")


def write_list(path: Path, *ids: str) -> Path:
    path.write_text("\n".join(ids) + "\n")
    return path


def test_verbs_and_flags(semiseg: Semiseg, snapshots: Snapshots) -> None:
    page = semiseg("--help").out
    verbs = re.findall(r"^  ([a-z-]+)\s", page[page.index("Commands:") :], re.M)
    found = {}
    for verb in verbs:
        answer = semiseg(verb, "--help")
        assert answer.code == 0
        (usage,) = re.findall(rf"Usage: .*? {verb} \[OPTIONS\] ?(.*)", answer.out)
        options = re.findall(
            r"^  (-[\w-]+(?:, -[\w-]+)*)",
            answer.out[answer.out.index("Options:") :],
            re.M,
        )
        found[verb] = {
            "arguments": re.sub("[{}]", "", usage),
            "options": sorted(options),
        }
    snapshots.check(FILE, "verbs and flags", found)


def test_exit_codes(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project, tmp_path: Path
) -> None:
    folder = reviewed.folder
    tries: dict[str, tuple[object, ...]] = {
        "help": ("--help",),
        "no verb": (),
        "unknown verb": ("magic",),
        "unknown flag": ("status", folder, "--magic"),
        "no argument": ("status",),
        "no project": ("status", tmp_path / "images"),
        "a project twice": ("init", folder, "--label", "1=ball"),
        "a wrong label": ("init", tmp_path / "new", "--label", "ball"),
        "unknown case": ("flag", folder, "ghost"),
        "unknown run": ("evaluate", folder, "--masks", tmp_path, "--run", "ghost"),
        "unknown strategy": ("suggest", folder, "--strategy", "magic"),
        "unknown format": ("export", folder, tmp_path / "out", "--format", "magic"),
        "nothing to stop": ("stop", folder),
        "mend without a project": ("doctor", "--mend"),
        "two budgets": ("train", folder, "--steps", "3", "--minutes", "1"),
        "no display": ("open", folder),
        "done": ("status", folder),
    }
    answers = {name: semiseg(*words) for name, words in tries.items()}
    assert not [one.err for one in answers.values() if "Traceback" in one.err]
    codes = {name: answer.code for name, answer in answers.items()}
    snapshots.check(FILE, "exit codes", codes)


def test_from_init_to_a_cohort_with_labels(
    semiseg: Semiseg, snapshots: Snapshots, cohort: Path
) -> None:
    project, images, masks = cohort / "project", cohort / "images", cohort / "masks"
    (cohort / "pairs").mkdir()
    for folder, ending in ((images, ""), (masks, "_seg")):
        pair = cohort / "pairs" / f"case_0{ending}.nii.gz"
        shutil.copyfile(folder / "case_0.nii.gz", pair)
    test = write_list(cohort / "test.list", "case_6", "ghost")
    few = write_list(cohort / "few.list", "case_0", "case_1")
    tries: dict[str, tuple[object, ...]] = {
        "init": ("init", project, "--label", "1=left atrium", "--label", "2=wall"),
        "status of nothing": ("status", project),
        "add, only shown": ("add", project, cohort / "pairs", "--dry-run"),
        "add a list": ("add", project, images, "--split", "test", "--cases", test),
        "add": ("add", project, images),
        "label, only shown": ("label", project, "--masks", masks, "--dry-run"),
        "label": ("label", project, "--masks", masks, "--cases", few),
        "status": ("status", project),
        "colours": ("colours", project),
        "other colours": ("colours", project, "--palette", "bright"),
    }
    found = {name: semiseg(*words, "--json").exact for name, words in tries.items()}
    snapshots.check(FILE, "first steps", found)


def test_cases_of_two_images(
    semiseg: Semiseg, snapshots: Snapshots, tmp_path: Path
) -> None:
    for number in range(2):
        for name in ("t1", "flair"):
            values = np.full((9, 8, 7), number, np.int16)
            save_nifti(tmp_path / "images" / f"scan_{number}_{name}.nii.gz", values)
    project = tmp_path / "project"
    channels = ("--channel", "T1=_t1", "--channel", "FLAIR=_flair")
    add = ("add", project, tmp_path / "images", *channels)
    tries: dict[str, tuple[object, ...]] = {
        "init": ("init", project, "--label", "1=lesion"),
        "add, only shown": (*add, "--dry-run"),
        "add": add,
        "status": ("status", project),
    }
    found = {name: semiseg(*words, "--json").exact for name, words in tries.items()}
    snapshots.check(FILE, "two images", found)


def test_a_review(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project, tmp_path: Path
) -> None:
    folder, masks = reviewed.folder, ("--masks", tmp_path / "masks")
    labels = tmp_path / "labels"
    few = ("--cases", write_list(tmp_path / "few.list", "case_0", "case_5"))
    tries: dict[str, tuple[object, ...]] = {
        "status": ("status", folder),
        "evaluate": ("evaluate", folder, *masks),
        "export": ("export", folder, labels, "--what", "labels"),
        "readers": ("readers", folder, *masks, *ANNA),
        "evaluate masks": ("evaluate", folder, *masks, "--predictions", labels, *few),
        "flag": ("flag", folder, "case_6", "case_1", "--comment", "apex cut off"),
        "unflag": ("flag", folder, "case_1", "--clear"),
        "skip": ("skip", folder, "case_7"),
        "status of notes": ("status", folder),
        "accept good ones": ("accept", folder, "--all", "--at-least", "0.81"),
        "accept": ("accept", folder, "--case", "case_6", "--case", "case_0"),
        "accept seen": ("accept", folder, "--all", "--seen"),
        "status of labels": ("status", folder),
        "reopen": ("reopen", folder, "--case", "case_6"),
        "reopen again": ("reopen", folder, "--case", "case_6"),
        "doctor": ("doctor", folder),
        "assist": ("assist", folder, "case_6", "--point", "11,12,17", *GROW),
        "undo": ("undo", folder, "--case", "case_6", "--case", "case_7"),
    }
    found = {name: semiseg(*words, "--json").exact for name, words in tries.items()}
    snapshots.check(FILE, "review", found)


def test_an_earlier_mask_is_the_draft_again(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project, tmp_path: Path
) -> None:
    semiseg("label", reviewed.folder, "--masks", tmp_path / "masks")
    words = ("restore", reviewed.folder, "case_0", "--json")
    listed = semiseg(*words)
    found = {"listed": listed.shape}
    for name in json.loads(listed.out)["versions"]:
        found["restored"] = semiseg(*words, "--version", name).shape
    found["unknown"] = semiseg(*words, "--version", "ghost").exact
    snapshots.check(FILE, "restore", found)


def test_masks_of_another_program(
    semiseg: Semiseg, snapshots: Snapshots, cohort: Path
) -> None:
    project = ss.Project.create(cohort / "project", {"left atrium": 1})
    project.add(cohort / "images")
    (cohort / "masks" / "case_1.nii.gz").write_bytes(b"no mask")
    few = ("--case", "case_0", "--case", "case_1")
    words = ("propose", project.folder, "--masks", cohort / "masks", *few, "--json")
    snapshots.check(FILE, "propose", {"propose": semiseg(*words).exact})


def test_an_archive_of_a_study(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project, tmp_path: Path
) -> None:
    """Its hash is another with each version and hour."""
    out = tmp_path / "study.zip"
    answer = semiseg("bundle", reviewed.folder, out, "--json")
    with zipfile.ZipFile(out) as archive:
        names = sorted(archive.namelist())
    snapshots.check(FILE, "bundle", {"bundle": answer.shape, "names": names})


def test_an_archive_of_scans(
    semiseg: Semiseg,
    snapshots: Snapshots,
    empty_project: ss.Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SEMISEG_DICOMWEB_USER", USER)
    monkeypatch.setenv("SEMISEG_DICOMWEB_PASSWORD", PASSWORD)
    scans = sorted(write_oblique_series(tmp_path / "scanner").iterdir())
    folder = empty_project.folder
    with started(tmp_path / "orthanc") as orthanc:
        Archive(orthanc.url).store(scans)
        words = (folder, "--dicomweb", orthanc.url, "--json")
        pulled = semiseg("pull", *words, "--study", "1.2.3")
        found = {"pull": pulled.exact}
        found["pull again"] = semiseg("pull", *words, "--study", "1.2.3").exact
        (name,) = json.loads(pulled.out)["added"]
        empty_project.set_label(name, np.ones(SHAPE, np.uint8))
        found["push"] = semiseg("push", *words).shape
    snapshots.check(FILE, "pull and push", found)


def test_two_models_compared(
    semiseg: Semiseg,
    snapshots: Snapshots,
    reviewed: ss.Project,
    predict_ball: Callable[..., Any],
) -> None:
    config = ss.TrainingConfig(method="dtml", steps=9)
    run = ss.Run.create(reviewed, config, "second")
    started = ss.events.Started(run=run.id, method="dtml", pid=NOBODY)
    ended = {"reason": "completed", "step": 9, "seconds": 4.0}
    for event in (started, ss.events.Finished(run=run.id, **ended)):
        run.append(event)
    run.claim(NOBODY)
    for name, empty in (("case_6", False), ("case_7", True)):
        case = reviewed.case(name)
        made = predict_ball(run, case, uncertainty=0.25, empty=empty)
        run.write_prediction(made, case.image)
    words = ("compare", reviewed.folder, "--json")
    found = {
        "compare": semiseg(*words).exact,
        "with nothing": semiseg(*words, "--run", "first").exact,
    }
    snapshots.check(FILE, "compare", found)


def write_audit(project: ss.Project, case: str) -> None:
    """Write what an audit of the labels finds: a doubtful slice of one of them."""
    record = (project.folder / "cases" / case / "case.json").read_text("utf-8")
    reason = "structures may be swapped"
    place = {"axis": 0, "index": 7, "score": 0.4, "reason": reason}
    found = {"file": json.loads(record)["history"][-1]["file"], "slices": [place]}
    audit = json.dumps({"cases": {case: found}})
    (project.folder / "audit.json").write_text(audit, "utf-8")


def test_suggestions(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project, tmp_path: Path
) -> None:
    asked = ("suggest", reviewed.folder, "-k", "3", "--json")
    semiseg("flag", reviewed.folder, "case_6", "--comment", "motion")
    semiseg("readers", reviewed.folder, *ANNA, "--masks", tmp_path / "masks")
    write_audit(reviewed, "case_2")
    found = {name: semiseg(*asked, "--strategy", name).exact for name in strategies()}
    found["sagittal"] = semiseg(*asked, "--plane", "sagittal").exact
    snapshots.check(FILE, "suggest", found)


def test_exports(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project, tmp_path: Path
) -> None:
    found = {}
    for name in export_formats():
        out = tmp_path / name
        answer = semiseg("export", reviewed.folder, out, "--format", name, "--json")
        found[name] = answer.exact
    for name in ("labels", "predictions"):
        out = tmp_path / name
        answer = semiseg("export", reviewed.folder, out, "--what", name, "--json")
        found[name] = answer.exact
    snapshots.check(FILE, "export", found)


def test_a_run_that_goes_on_is_asked_to_stop(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project
) -> None:
    run = ss.Run.create(reviewed, ss.TrainingConfig(steps=3), "second")
    found = {"stop": semiseg("stop", reviewed.folder, "--json").exact}
    found["status"] = semiseg("status", reviewed.folder, "--json").exact
    assert run.stop_requested
    snapshots.check(FILE, "stop", found)


def test_a_damaged_project(
    semiseg: Semiseg, snapshots: Snapshots, reviewed: ss.Project
) -> None:
    cases = reviewed.folder / "cases"
    (cases / "case_0" / "label.nii.gz").write_bytes(b"no mask")
    (cases / "case_7" / "case.json").unlink()
    found = {"found": semiseg("doctor", reviewed.folder, "--json").shape}
    mended = semiseg("doctor", reviewed.folder, "--mend", "--json")
    found["mended"] = mended.shape
    snapshots.check(FILE, "doctor", found)


def test_this_machine(semiseg: Semiseg, snapshots: Snapshots) -> None:
    answer = semiseg("doctor", "--json")
    values = answer.exact["json"]
    found = answer.shape["json"] | {
        "devices": "with PyTorch",
        "names": [check["name"] for check in values["checks"]],
    }
    snapshots.check(FILE, "machine", {"exit": answer.code, "json": found})


@pytest.mark.engine
def test_this_machine_and_what_it_can_train(
    semiseg: Semiseg, snapshots: Snapshots
) -> None:
    devices = semiseg("doctor", "--json").exact["json"]["devices"]
    assert devices[-1]["name"] == "cpu"
    methods = semiseg("methods", "--json").exact["json"]["methods"]
    for method in methods:
        assert method["params"]["type"] == "object"
        method["params"] = {
            name: {
                key: told[key] for key in told if key not in ("title", "description")
            }
            for name, told in method["params"]["properties"].items()
        }
    found = {"devices": sorted(devices[-1]), "methods": methods}
    snapshots.check(FILE, "engine: methods", found)


@pytest.fixture
def half_labelled(cohort: Path) -> ss.Project:
    """Three labelled cases, one of them to validate with, and three others."""
    project = ss.Project.create(cohort / "project", {"left atrium": 1})
    project.add(cohort / "images")
    for name in ("case_0", "case_1", "case_2"):
        project.set_label(name, cohort / "masks" / f"{name}.nii.gz", by="annotator")
    project.set_split("case_2", "validation")
    return project


@pytest.mark.engine
def test_trainings(
    semiseg: Semiseg, snapshots: Snapshots, half_labelled: ss.Project
) -> None:
    folder = half_labelled.folder
    words = ("--method", "dtml", *TINY, "--set", "unlabelled_batch=1")
    tries: dict[str, tuple[object, ...]] = {
        "train": ("train", folder, "--steps", "3", *words),
        "resume": ("resume", folder, "--steps", "4", "--no-predict"),
        "resume what is complete": ("resume", folder),
        "predict": ("predict", folder, "--case", "case_3", "--case", "case_0"),
        "unknown method": ("train", folder, "--steps", "3", "--method", "magic"),
        "unknown parameter": ("train", folder, "--steps", "3", "--set", "magic=1"),
        "status": ("status", folder),
    }
    answers = {name: semiseg(*words, "--json") for name, words in tries.items()}
    found: dict[str, Any] = {name: answer.shape for name, answer in answers.items()}
    for name in ("train", "resume"):
        values = answers[name].exact["json"]
        found[f"{name}: values"] = [values[key] for key in ("run", "reason", "steps")]
    found["predict: values"] = answers["predict"].exact["json"]["predicted"]
    run = half_labelled.runs()[-1]
    found["folder"] = sorted(
        path.relative_to(run.folder.path).as_posix()
        for path in run.folder.path.rglob("*")
        if path.is_file()
    )
    lines = (event.model_dump(mode="json") for event in run.events())
    found["events"] = {line["type"]: sorted(line) for line in lines}
    snapshots.check(FILE, "engine: train", found)


@pytest.mark.engine
def test_a_model_refines_and_leaves(
    semiseg: Semiseg, snapshots: Snapshots, half_labelled: ss.Project, cohort: Path
) -> None:
    folder, model = half_labelled.folder, cohort / "model"
    trained = semiseg("train", folder, "--method", "supervised", "--steps", 3, *TINY)
    assert trained.code == 0, trained.err
    mask = half_labelled.case("case_0").read_label()
    assert mask is not None
    mask[12:] = 255
    half_labelled.set_label("case_3", mask)
    images = [cohort / "images" / f"case_{number}.nii.gz" for number in (4, 5)]
    tries: dict[str, tuple[object, ...]] = {
        "refine": ("refine", folder, "case_3"),
        "export-model": ("export-model", folder, model),
        "run-model": ("run-model", model, *images, "--out", cohort / "found"),
        "log": ("log", folder),
    }
    found = {name: semiseg(*words, "--json").shape for name, words in tries.items()}
    (run,) = half_labelled.runs()
    found["log"]["json"]["runs"] = found["log"]["json"]["runs"].pop(run.id)
    snapshots.check(FILE, "engine: model", found)


@pytest.mark.engine
def test_an_audit(
    semiseg: Semiseg, snapshots: Snapshots, half_labelled: ss.Project, cohort: Path
) -> None:
    """Of a label that lies elsewhere than what is seen, as any model will notice."""
    half_labelled.set_label("case_1", cohort / "masks" / "case_7.nii.gz")
    words = ("audit", half_labelled.folder, "--folds", "2", "--out", cohort / "out")
    training = ("--method", "supervised", "--steps", "60", *TINY)
    answer = semiseg(*words, *training, "--json")
    snapshots.check(FILE, "engine: audit", answer.shape)


@pytest.mark.engine
def test_a_training_that_somebody_stops(
    semiseg: Semiseg, snapshots: Snapshots, half_labelled: ss.Project
) -> None:
    folder = half_labelled.folder

    def ask() -> None:
        while not any(run.steps_done for run in ss.Project.open(folder).runs()):
            time.sleep(0.05)
        ss.Project.open(folder).runs()[0].request_stop()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    words = ("train", folder, "--method", "supervised", "--steps", LONG, *TINY)
    stopped = semiseg(*words, "--json")
    asking.join()
    status = semiseg("status", folder, "--json").exact["json"]["runs"][0]["status"]
    reason = stopped.exact["json"]["reason"]
    found = {"train": stopped.shape, "reason": reason, "status": status}
    snapshots.check(FILE, "engine: stopped", found)


@pytest.mark.engine
def test_a_benchmark(semiseg: Semiseg, snapshots: Snapshots, cohort: Path) -> None:
    data = cohort / "data"
    data.mkdir()
    (cohort / "images").rename(data / "imagesTr")
    (cohort / "masks").rename(data / "labelsTr")
    few = write_list(cohort / "few.list", "case_0", "case_1")
    held = write_list(cohort / "held.list", "case_4", "case_5", "case_6")
    lists = ("--labelled", few, "--test", held, "--out", cohort / "out")
    words = ("bench", data, *lists, "--methods", "supervised", "--steps", "3", *TINY)
    answer = semiseg(*words, "--label", "1=ball", "--json")
    found = {
        "bench": answer.shape,
        "files": sorted(path.name for path in (cohort / "out").iterdir()),
    }
    snapshots.check(FILE, "engine: bench", found)


@pytest.mark.engine
def test_a_simulation(
    semiseg: Semiseg, snapshots: Snapshots, half_labelled: ss.Project, cohort: Path
) -> None:
    cases = write_list(cohort / "cases.list", "case_3", "case_4")
    test = write_list(cohort / "test.list", "case_6")
    words = ("simulate", half_labelled.folder, "--masks", cohort / "masks")
    words += ("--cases", cases, "--test", test, "--strategy", "mix")
    words += ("--rounds", "1", "--slices-per-round", "3", "--out", cohort / "out")
    method = ("--method", "supervised", "--steps", "3", *TINY)
    answer = semiseg(*words, *method, "--json")
    found = {
        "simulate": answer.shape,
        "files": sorted(path.name for path in (cohort / "out").iterdir()),
    }
    snapshots.check(FILE, "engine: simulate", found)


@pytest.mark.engine
def test_the_demo(semiseg: Semiseg, snapshots: Snapshots, tmp_path: Path) -> None:
    """On patients that are there already, which are smaller than those it makes."""
    pytest.importorskip("PIL", reason="the demo extra is not installed")
    for number in range(12):
        grid = (
            np.indices((12, 12, 12))
            - np.array([5 + number % 3, 6, 6])[:, None, None, None]
        )
        mask = (np.linalg.norm(grid, axis=0) < 4).astype(np.uint8)
        noise = np.random.default_rng(number).normal(0, 10, mask.shape)
        name = f"patient_{number + 1:02d}.nii.gz"
        save_nifti(tmp_path / "demo" / "cohort" / "labelsTr" / name, mask)
        image = (100 * mask + noise).astype(np.int16)
        save_nifti(tmp_path / "demo" / "cohort" / "imagesTr" / name, image)
    words = ("demo", tmp_path / "demo", "--minutes", "0.01", "--no-gui", "--json")
    snapshots.check(FILE, "engine: demo", semiseg(*words).shape)
