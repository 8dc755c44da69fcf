"""The command line as a user has it, and what it said once."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_semiseg as ss
from contract.snapshots import Snapshots, settled, shape
from synthetic import ball, save_nifti

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_CASES = 8
CORRECTED = 6
"""Cases whose prediction was corrected: as many as an estimate of the others needs."""
NOBODY = 2**30
"""A number that no process has."""


@dataclass(frozen=True)
class Answer:
    """What a verb said, and the code it ended with."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def exact(self) -> dict[str, Any]:
        """The code and the JSON object, without what differs from day to day."""
        return {"exit": self.code, "json": settled(self._json, self.folder)}

    @property
    def shape(self) -> dict[str, Any]:
        """The code, and keys and types of the JSON object."""
        return {"exit": self.code, "json": shape(self._json)}

    @property
    def _json(self) -> Any:
        assert "Traceback" not in self.err, self.err
        return json.loads(self.out) if self.out else None


@pytest.fixture
def snapshots(request: pytest.FixtureRequest) -> Snapshots:
    """Compares with the files beside the tests, or renews them."""
    return Snapshots(renew=request.config.getoption("--renew-contract"))


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A folder with ``images`` and ``masks`` of eight balls."""
    for number in range(N_CASES):
        mask = ball(number)
        noise = np.random.default_rng(number).normal(0, 10, mask.shape)
        image = (100 * mask + noise).astype(np.int16)
        save_nifti(tmp_path / "images" / f"case_{number}.nii.gz", image)
        save_nifti(tmp_path / "masks" / f"case_{number}.nii.gz", mask)
    return tmp_path


@pytest.fixture
def reviewed(cohort: Path, predict_ball: Callable[..., Any]) -> ss.Project:
    """Eight predicted cases: six corrected, one of them in part, two to look at."""
    project = ss.Project.create(cohort / "project", {"left atrium": 1})
    project.add(cohort / "images")
    config = ss.TrainingConfig(method="dtml", steps=7, params={"ramp": 0.5})
    run = ss.Run.create(project, config, "first")
    events = ss.events
    for event in (
        events.Started(run=run.id, method="dtml", pid=NOBODY),
        events.Planned(device="cpu", steps=7, seconds_per_step=0.1, parameters=10),
        events.Learned(step=4, cases=("case_1",), labelled=2, unlabelled=3),
        events.Finished(run=run.id, reason="completed", step=7, seconds=3.0),
    ):
        run.append(event)
    run.claim(NOBODY)
    for number in range(N_CASES):
        case = project.case(f"case_{number}")
        made = predict_ball(
            run,
            case,
            uncertainty=0.2 + 0.05 * number,
            features=(1.0, 0.1 * number),
            classes={"left atrium": 0.2 + 0.03 * number},
        )
        run.write_prediction(made, case.image)
    for number in range(CORRECTED):
        case = project.case(f"case_{number}")
        mask = case.geometry.to_canonical(ball(number)).copy()
        mask[:, :, : 10 + number] = 0
        if number == 1:
            mask[12:] = 255
        project.set_label(
            case.id, mask, by="annotator", minutes=1.5, details={"seen": True}
        )
    return project


@pytest.fixture
def semiseg(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Answer]:
    """Run the command line in this process."""
    from napari_semiseg.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LOGNAME", "annotator")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["semiseg", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        code = ending.value.code
        said = capsys.readouterr()
        return Answer(int(code or 0), said.out, said.err, tmp_path)

    return run
