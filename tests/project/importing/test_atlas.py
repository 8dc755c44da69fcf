"""Labelled scans that are registered to others and vote."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.core.case import CaseState
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.imaging.volume_registration import CoarseScan, register
from napari_semiseg.project.cases.history import Proposed
from napari_semiseg.project.importing import atlas
from napari_semiseg.project.importing.propose import propose
from synthetic import ball, save_nifti


def dice(first, second) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


@pytest.fixture
def registered(monkeypatch):
    """Which coarse scans were registered."""
    found = []

    def noted(fixed, moving):
        found.append(moving)
        return register(fixed, moving)

    monkeypatch.setattr(atlas, "register", noted)
    return found


def test_labelled_scans_propose_masks_of_the_others(ball_project, registered) -> None:
    report = propose(ball_project, atlas=True)
    assert report.proposed == ["case_2", "case_3", "case_4"]
    assert len(registered) == 6
    assert len({id(scan) for scan in registered}) == 2  # each is read once
    run = ball_project.run(report.run)
    for name in report.proposed:
        case = ball_project.case(name)
        assert case.state is CaseState.PROPOSED
        entry = case.record.last(Proposed)
        assert entry.command == "2 labelled scans, registered"
        assert entry.version.startswith("SimpleITK")
        truth = case.geometry.to_canonical(ball(int(name[-1])))
        _, mask = run.read_mask(name, case.geometry)
        assert dice(mask > 0, truth > 0) > 0.85


def test_a_scan_does_not_vote_for_itself(ball_project, registered) -> None:
    report = propose(ball_project, cases=["case_0"], atlas=True)
    assert (report.proposed, len(registered)) == (["case_0"], 1)
    ball_project.layout.case("case_1").label.unlink()
    report = propose(ball_project, cases=["case_0"], atlas=True)
    assert "another scan with a label" in report.skipped["case_0"]


def test_time_that_is_up_lets_those_vote_that_are_registered(
    ball_project, registered
) -> None:
    report = propose(ball_project, atlas=True, cases=["case_2"], minutes=1e-6)
    assert (report.proposed, len(registered)) == (["case_2"], 1)


def test_it_can_be_stopped_between_two_scans(ball_project, registered) -> None:
    token = CancellationToken(lambda: bool(registered))
    report = propose(ball_project, atlas=True, cancellation=token)
    assert (report.stopped, report.proposed, len(registered)) == (True, [], 1)


def test_bad_input_is_refused_before_anything_is_written(ball_project) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        propose(ball_project, "tool {image} {mask}", atlas=True)
    with pytest.raises(ConfigError, match="no structures with an atlas"):
        propose(ball_project, atlas=True, structures={"1": 1})
    for name in ("case_0", "case_1"):
        ball_project.layout.case(name).label.unlink()
    with pytest.raises(ProjectError, match="whole label to register"):
        propose(ball_project, atlas=True)
    assert ball_project.runs() == []


def test_a_shifted_and_wider_structure_is_found_on_slices_of_another_thickness() -> (
    None
):
    """20 x 30 x 30 voxels of 2 x 1 x 1 mm, and 40 x 28 x 36 of 1 mm."""

    def scan(shape, spacing_mm, centre, radii):
        places = (np.indices(shape).T + 0.5) * spacing_mm
        inside = (((places - centre) / radii) ** 2).sum(axis=-1).T < 1
        noise = np.random.default_rng(0).normal(0, 0.05, shape)
        return inside + noise, inside

    image, truth = scan((20, 30, 30), (2, 1, 1), (18, 13, 17), (9, 8, 8))
    other, mask = scan((40, 28, 36), (1, 1, 1), (22, 15, 16), (8, 7, 10))
    fixed = CoarseScan.of(100 * image, (2, 1, 1))
    grey, (shares,) = register(fixed, CoarseScan.of(other, (1, 1, 1), [mask]))
    assert grey.shape == fixed.image.shape == (20, 30, 30)
    assert dice(shares > 0.5, truth) > 0.9


def test_a_large_scan_is_registered_on_a_coarse_grid() -> None:
    scan = CoarseScan.of(np.zeros((60, 256, 256), np.int16), (5, 0.8, 0.8))
    assert scan.image.size < 60_000
    assert np.allclose(
        np.multiply(scan.image.shape, scan.spacing_mm), (300, 204.8, 204.8)
    )


def test_scans_that_cannot_be_registered_keep_no_other_out(
    ball_project, tmp_path
) -> None:
    noise = np.random.default_rng(0).normal(size=(24, 24, 3))
    for name in ("a_thin", "thin"):
        save_nifti(tmp_path / "thin" / f"{name}.nii.gz", noise.astype(np.float32))
    ball_project.add(tmp_path / "thin")
    ball_project.set_label("a_thin", np.ones((3, 24, 24), np.uint8))
    report = propose(ball_project, cases=["thin", "case_2"], atlas=True)
    assert report.proposed == ["case_2"]
    assert "at least 4 slices" in report.skipped["thin"]
