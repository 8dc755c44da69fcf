"""Series of an archive become cases, whatever lies beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pydicom

from dicom_slices import SHAPE, pixels, save, slice_of
from napari_semiseg.io.dicom.web import RemoteSeries
from napari_semiseg.project.importing import pull

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from napari_semiseg.project.project import Project

LOCALISER, SCAN = "1.2.1", "1.2.2"


@dataclass
class Archive:
    """An archive with one study: a localiser, and a scan behind it."""

    url: str

    def find_series(self, _filters: dict[str, str]) -> list[RemoteSeries]:
        return [
            RemoteSeries("1.2", uid, str(number), "MR", "")
            for number, uid in enumerate((LOCALISER, SCAN), start=1)
        ]

    def instances(self, series: RemoteSeries) -> list[str]:
        return [f"{series.uid}.{rank}" for rank in range(SHAPE[0])]

    def fetch(self, series: RemoteSeries, instance: str, target: Path) -> None:
        rank = int(instance.rpartition(".")[2])
        slice_ = slice_of(
            rank, pixels()[rank], SOPInstanceUID=instance, SeriesInstanceUID=series.uid
        )
        if series.uid == LOCALISER and rank % 2:
            slice_.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
        save(pydicom.FileDataset(target, slice_, file_meta=slice_.file_meta), target)


def test_a_localiser_does_not_keep_the_scan_behind_it_out(
    empty_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "Archive", Archive)
    report = pull.pull(empty_project, "https://archive", studies=["1.2"])
    (scan,) = report.added
    assert empty_project.case(scan).geometry.shape_zyx == SHAPE
    (reason,) = report.skipped.values()
    assert reason.startswith("expected parallel DICOM slices")
