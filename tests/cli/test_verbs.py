from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run


def write_list(path, *ids):
    path.write_text("# chosen\n" + "\n".join(ids) + "\n\n")
    return path


def test_the_whole_way_from_init_to_export(semiseg, engine, spheres, tmp_path) -> None:
    folder = tmp_path / "p"
    made = semiseg("init", folder, "--label", "1=left atrium", "--json")
    assert made.json == {
        "project": str(folder),
        "labels": [{"value": 1, "name": "left atrium", "colour": "#E69F00"}],
    }
    held = write_list(tmp_path / "held.list", "case_4", "ghost")
    added = semiseg(
        "add", folder, spheres.images, "--split", "test", "--cases", held, "--json"
    )
    assert added.json["added"] == ["case_4"]
    assert list(added.json["skipped"]) == ["ghost"]
    added = semiseg("add", folder, spheres.images, "--json").json
    assert added["added"] == ["case_0", "case_1", "case_2", "case_3"]
    assert list(added["skipped"]) == [str(spheres.images / "case_4.nii.gz")]
    chosen = write_list(tmp_path / "l.list", "case_0", "case_1")
    masks = ("--masks", spheres.masks)
    labelled = semiseg("label", folder, *masks, "--cases", chosen, "--json")
    assert labelled.json == {"labelled": ["case_0", "case_1"]}

    trained = semiseg("train", folder, "--steps", "3", "--json")
    assert trained.code == 0
    assert trained.err == ""
    run = trained.json.pop("run")
    assert trained.json == {
        "run": run,
        "reason": "completed",
        "steps": 3,
        "seconds": 3.0,
        "device": "cpu",
        "validation": {"left atrium": 0.75},
    }
    status = semiseg("status", folder, "--json").json
    assert list(status) == ["cases", "labels", "runs", "corrections", "plateau"]
    assert status["runs"] == [
        {
            "id": run,
            "method": "auto",
            "status": "completed",
            "steps": 3,
            "seconds": 3.0,
            "from": None,
            "learned": [],
        }
    ]
    rows = {row["id"]: row for row in status["cases"]}
    assert [rows[name]["state"] for name in sorted(rows)] == [
        *["labelled"] * 2,
        *["proposed"] * 3,
    ]
    assert rows["case_4"] == {
        "id": "case_4",
        "state": "proposed",
        "split": "test",
        "shape": [24, 24, 24],
        "spacing_mm": [2.0, 1.0, 1.0],
        "annotated_fraction": 0.0,
        "uncertainty": 0.3,
        "estimated_dice": None,
        "estimated_dice_error": None,
        "estimated_dice_low": None,
        "estimated_dice_high": None,
        "corrective_dice": None,
        "changed_voxels": None,
        "minutes": None,
        "accepted": None,
    }
    scores = semiseg("evaluate", folder, *masks, "--cases", held)
    assert "ghost" in scores.refusal
    write_list(held, "case_4")
    scores = semiseg("evaluate", folder, *masks, "--cases", held, "--json").json
    assert list(scores["cases"]["case_4"]["left atrium"]) == [
        "dice",
        "jaccard",
        "hd95_mm",
        "assd_mm",
        "hd95_voxel",
        "asd_voxel",
        "volume_ml",
        "reference_ml",
    ]
    assert scores["mean"]["left atrium"]["dice"] == 1.0
    found = semiseg("suggest", folder, "-k", "1", "--json").json
    assert list(found["volumes"][0])[:3] == ["case", "score", "reason"]
    assert list(found["slices"][0]) == ["case", "axis", "index", "score", "reason"]
    out = tmp_path / "out"
    written = semiseg("export", folder, out, "--json").json["written"]
    assert len(written) == 7
    stored = nib.load(out / "case_4.nii.gz")
    truth = nib.load(spheres.masks / "case_4.nii.gz")
    assert np.array_equal(stored.get_fdata(), truth.get_fdata())


def test_people_get_sentences_and_tables(
    semiseg, engine, ball_project, spheres
) -> None:
    folder = ball_project.folder
    before = semiseg("status", folder).out
    assert "case_0" in before
    assert before.rstrip().endswith(f"Next: semiseg train {folder}")
    trained = semiseg("train", folder)
    assert "completed, 3 steps" in trained.out
    assert "one image is dark" in trained.err
    after = semiseg("status", folder).out
    assert "semiseg suggest" in after
    table = semiseg("evaluate", folder, "--masks", spheres.masks).out
    assert table.count("1.000") >= 6
    assert "boundary uncertain (0.30)" in semiseg("suggest", folder).out
    assert "Wrote" in semiseg("export", folder, folder.parent / "out").out


def test_ctrl_c_while_the_program_is_loaded_leaves_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Late:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Late())\n"
        "from napari_semiseg.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_softly_and_without_predictions(
    semiseg, engine, ball_project, signum
) -> None:
    before = signal.getsignal(signum)
    engine.during = lambda: os.kill(os.getpid(), signum)
    stopped = semiseg("train", ball_project.folder, "--json")
    assert stopped.code == 130
    assert stopped.json["reason"] == "cancelled"
    assert stopped.json["steps"] == 1
    (run,) = ball_project.runs()
    assert run.status == "cancelled"
    assert run.predicted() == ()
    assert "semiseg resume" in semiseg("status", ball_project.folder).out
    assert signal.getsignal(signum) == before


def test_a_second_ctrl_c_ends_it_at_once(semiseg, engine, ball_project) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    engine.during = twice
    assert semiseg("train", ball_project.folder).code == 130
    assert ball_project.runs()[0].steps_done == 1


def test_resume_takes_the_latest_and_goes_on(semiseg, engine, ball_project) -> None:
    semiseg("train", ball_project.folder, "--no-predict")
    (run,) = ball_project.runs()
    assert run.predicted() == ()
    went_on = semiseg("resume", ball_project.folder, "--steps", "5", "--json")
    assert went_on.json["run"] == run.id
    assert went_on.json["steps"] == 5
    assert run.predicted() == ("case_2", "case_3", "case_4")


def test_settings_reach_the_engine(semiseg, engine, ball_project) -> None:
    semiseg(
        "train",
        ball_project.folder,
        *("--method", "dtml", "--steps", "2", "--seed", "4", "--device", "cpu"),
        *("--set", "width=8", "--set", "ramp=0.5"),
    )
    (config,) = engine.configs
    assert config == TrainingConfig(
        method="dtml",
        steps=2,
        seed=4,
        device="cpu",
        width=8,
        params={"ramp": 0.5},
    )


def test_a_run_made_by_the_panel_is_trained_as_it_was_asked(
    semiseg, engine, ball_project
) -> None:
    run = Run.create(ball_project, TrainingConfig(method="dtml", steps=3))
    answer = semiseg("train", ball_project.folder, "--run-id", run.id, "--json")
    assert answer.json["run"] == run.id
    assert engine.configs == [run.config]
    assert len(ball_project.runs()) == 1


def test_stop_asks_the_run_that_works(semiseg, engine, ball_project) -> None:
    run = Run.create(ball_project, TrainingConfig())
    assert semiseg("stop", ball_project.folder, "--json").json == {"run": run.id}
    assert run.stop_requested


def test_a_run_stopped_from_elsewhere_says_so(semiseg, engine, ball_project) -> None:
    engine.during = lambda: ball_project.latest_run().request_stop()
    stopped = semiseg("train", ball_project.folder, "--json")
    assert stopped.code == 130
    assert stopped.json["reason"] == "cancelled"


def test_predict_takes_lists_and_cases(semiseg, engine, ball_project, tmp_path) -> None:
    semiseg("train", ball_project.folder, "--no-predict")
    chosen = write_list(tmp_path / "c.list", "case_0", "case_3")
    answer = semiseg(
        "predict", ball_project.folder, "--cases", chosen, "--case", "case_2", "--json"
    )
    assert answer.json["predicted"] == ["case_0", "case_3", "case_2"]
    assert list(answer.json) == ["run", "predicted", "seconds"]
    everything = semiseg("predict", ball_project.folder, "--json")
    assert everything.json["predicted"] == ["case_2", "case_3", "case_4"]


def test_a_mask_without_a_case_is_a_note_and_not_in_the_json(
    semiseg, ball_project, spheres
) -> None:
    (spheres.masks / "case_0.nii.gz").rename(spheres.masks / "other.nii.gz")
    answer = semiseg("label", ball_project.folder, "--masks", spheres.masks, "--json")
    assert answer.json == {"labelled": ["case_1", "case_2", "case_3", "case_4"]}
    assert "other.nii.gz" in answer.err


def test_doctor_tells_what_is_there(semiseg) -> None:
    answer = semiseg("doctor", "--json").json
    names = {check["name"] for check in answer["checks"]}
    assert {"Python", "torch", "nilearn", "display", "temporary files"} <= names
    assert all(check["fix"] for check in answer["checks"] if not check["ok"])
    assert "Python" in semiseg("doctor").out


@pytest.mark.engine
def test_methods_are_listed_by_the_engine(semiseg) -> None:
    listed = semiseg("methods", "--json").json["methods"]
    assert {"supervised", "ug_mcl", "dtml"} <= {item["name"] for item in listed}
    assert list(listed[0]) == [
        "name",
        "title",
        "cite",
        "params",
        "learns_from_unlabelled",
    ]


def test_open_without_a_display_says_so(semiseg, ball_project, monkeypatch) -> None:
    monkeypatch.setattr("napari_semiseg.cli.gui.has_display", lambda: False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    assert "display" in semiseg("open", ball_project.folder).refusal


def test_an_engine_that_refuses_leaves_nothing(semiseg, engine, ball_project) -> None:
    engine.error = ProjectError("expected\nsomething, found nothing; do it")
    answer = semiseg("train", ball_project.folder)
    assert answer.refusal == "semiseg: expected something, found nothing; do it\n"
    assert not ball_project.layout.runs.exists()


def test_the_folder_stays_readable_by_hand(semiseg, engine, ball_project) -> None:
    semiseg("train", ball_project.folder)
    run = Project.open(ball_project.folder).runs()[0]
    lines = run.folder.events.read_text().splitlines()
    assert json.loads(lines[0])["type"] == "started"
    assert 'method = "auto"' in run.folder.config.read_text()


def test_a_verb_does_not_load_what_the_help_of_others_lists(
    semiseg, empty_project, monkeypatch
) -> None:
    """Strategies of suggestions load half of the package."""

    def listed() -> None:
        raise AssertionError("all strategies are loaded")

    monkeypatch.setattr("napari_semiseg.cli.review.strategies", listed)
    assert semiseg("status", empty_project.folder).code == 0
    with pytest.raises(AssertionError, match="all strategies"):
        semiseg("suggest", "--help")


def test_the_app_runs_the_verb_of_its_arguments_whatever_the_process_was_asked(
    monkeypatch, capsys
) -> None:
    from napari_semiseg.cli.app import app

    monkeypatch.setattr(sys, "argv", ["semiseg", "status"])
    with pytest.raises(SystemExit) as ended:
        app(["methods", "--json"])
    assert ended.value.code == 0
    assert "supervised" in capsys.readouterr().out
