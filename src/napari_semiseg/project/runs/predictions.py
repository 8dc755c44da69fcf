"""Read and write stored predictions: files that belong together, as one."""

from __future__ import annotations

import tempfile
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zipfile import BadZipFile

import numpy as np
from pydantic import ValidationError

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.config import describe
from napari_semiseg.core.prediction import FeatureMaps, Prediction, PredictionRecord
from napari_semiseg.errors import ProjectError
from napari_semiseg.imaging.distance import signed_distance
from napari_semiseg.io.atomic import (
    read_json,
    remove_stale_temporaries,
    rename,
    temporary_name,
    write_json,
)
from napari_semiseg.io.masks import read_labels, read_map, write_labels, write_map
from napari_semiseg.project.cases.history import Proposed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.layout import HasLayout, PredictionFolder

RECORD_WAITS_S = (0.02, 0.1)
"""Pauses in which the record of a prediction that takes another's place comes, s."""

WAITS_S = (0.05, 0.2, 0.5, 1.0)
"""Pauses while a training puts another prediction in the place of one, s."""

DAMAGED = (
    *(ValueError, KeyError, TypeError, AttributeError, EOFError),
    *(BadZipFile, zlib.error),
)
"""What NumPy raises for a file that holds other things than it should."""
MOST_BYTES = 500_000_000
"""Of feature maps that are read; what is larger was not written here."""

T = TypeVar("T")


def read_record(folder: PredictionFolder) -> PredictionRecord:
    """Provenance and scores, without voxels."""
    folder.check()
    for wait in (*RECORD_WAITS_S, None):
        try:
            return PredictionRecord.model_validate(read_json(folder.json))
        except ValidationError as error:
            raise ProjectError(describe(error, str(folder.json))) from error
        except ProjectError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        if wait is None or not folder.path.is_dir():
            break
        time.sleep(wait)
    run, case = folder.path.parents[1].name, folder.path.name
    raise ProjectError(
        f"expected a prediction of case '{case}' in run '{run}', found none; run "
        "semiseg predict first"
    )


def proposed_mask(project: HasLayout, case: Case) -> Path | None:
    """File of the mask that another program proposed last, of a case without another.

    None where a person has begun with the case, or no program proposed anything.
    """
    entry = case.record.last(Proposed)
    if entry is None or case.state is not CaseState.PROPOSED:
        return None
    folder = project.layout.run(entry.run).prediction(case.id)
    folder.check()
    return folder.labels if folder.labels.exists() else None


def read_mask(
    folder: PredictionFolder, geometry: Geometry
) -> tuple[PredictionRecord, NDArray[np.uint8]]:
    """Mask (Z, Y, X) with the record of this very mask."""
    return _as_one(folder, lambda: read_labels(folder.labels, geometry))


def read(folder: PredictionFolder, geometry: Geometry) -> Prediction:
    """Read a prediction, on the case's own grid.

    One that was stored without maps has the distances of its mask, and no uncertainty.
    """
    record, (labels, sdm, uncertainty) = _as_one(
        folder,
        lambda: (read_labels(folder.labels, geometry), *_read_maps(folder, geometry)),
    )
    return Prediction(
        record=record,
        geometry=geometry,
        labels=labels,
        sdm_mm=sdm[np.newaxis] if sdm.ndim == 3 else sdm,
        uncertainty=uncertainty,
    )


def _read_maps(
    folder: PredictionFolder, geometry: Geometry
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Distances and uncertainty; of a mask that is stored alone, its own and none."""
    if folder.sdm.exists() or folder.uncertainty.exists():
        return read_map(folder.sdm, geometry), read_map(folder.uncertainty, geometry)
    labels = read_labels(folder.labels, geometry)
    inside = [labels == value for value in np.unique(labels[labels > 0])]
    distances = [signed_distance(mask, geometry.spacing_mm) for mask in inside]
    nowhere = np.full(labels.shape, 0.0, np.float32)
    return np.stack(distances or [nowhere + np.inf]), nowhere


def read_feature_maps(
    folder: PredictionFolder, geometry: Geometry
) -> tuple[PredictionRecord, NDArray[np.uint8], FeatureMaps]:
    """Mask (Z, Y, X) and the decoder's maps, with the record of these very files."""
    record, (labels, maps) = _as_one(
        folder,
        lambda: (read_labels(folder.labels, geometry), _read_feature_maps(folder)),
    )
    return record, labels, maps


def _read_feature_maps(folder: PredictionFolder) -> FeatureMaps:
    path = folder.feature_maps
    again = "predict the case again (semiseg predict --case)"
    try:
        with np.load(path, allow_pickle=False) as stored:
            if sum(part.file_size for part in stored.zip.infolist()) > MOST_BYTES:
                raise ValueError("too large")
            strides = stored["strides"]
            maps = FeatureMaps(
                stored["log_probabilities"],
                tuple(stored[f"level_{at}"] for at in range(len(strides))),
                tuple(tuple(map(float, stride)) for stride in strides),
            )
    except FileNotFoundError as error:
        raise ProjectError(
            f"case '{folder.path.name}': expected feature maps with the prediction, "
            "found none; predict it again by a run that stores them (feature_maps)"
        ) from error
    except (*DAMAGED, OSError) as error:
        raise ProjectError(
            f"{path}: expected feature maps, found a damaged file ({error}); {again}"
        ) from error
    arrays = (maps.log_probabilities, *maps.levels)
    if any(array.ndim != 4 or array.dtype != np.uint8 for array in arrays):
        raise ProjectError(
            f"{path}: expected maps (C, Z, Y, X) in 8 bits, found others; {again}"
        )
    return maps


def _as_one(
    folder: PredictionFolder, read_files: Callable[[], T]
) -> tuple[PredictionRecord, T]:
    """Record and files of one prediction, though another may take its place."""
    for wait in WAITS_S:
        record = read_record(folder)
        found = read_files()
        with suppress(ProjectError):  # the new record is not there yet
            if read_record(folder) == record:
                return record, found
        time.sleep(wait)
    raise ProjectError(
        f"{folder.path}: expected a prediction, found that it is replaced again and "
        "again; try it once more, or stop the training"
    )


def write(
    folder: PredictionFolder,
    prediction: Prediction,
    image: Path,
    cancellation: CancellationToken,
    *,
    maps: bool,
) -> None:
    """Store a prediction, see `Run.write_prediction`."""
    folder.check()
    beside = folder.path.parent
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(beside)
        with tempfile.TemporaryDirectory(
            prefix=temporary_name(), dir=beside, ignore_cleanup_errors=True
        ) as temporary:
            staged = type(folder)(Path(temporary))
            _write_files(staged, prediction, image, cancellation, maps=maps)
            cancellation.check()
            for old in (folder.json, folder.feature_maps, *_maps(folder) * (not maps)):
                old.unlink(missing_ok=True)
            for made in ("labels", "sdm", "uncertainty", "feature_maps", "json"):
                if (path := getattr(staged, made)).exists():
                    rename(path, getattr(folder, made))
    except OSError as error:
        raise ProjectError(
            f"{folder.path}: expected to write this prediction, found "
            f"'{error.strerror or error}'; check that its folder is writable and has "
            f"space left"
        ) from error


def _maps(folder: PredictionFolder) -> tuple[Path, Path]:
    return folder.sdm, folder.uncertainty


def _write_files(
    folder: PredictionFolder,
    prediction: Prediction,
    image: Path,
    cancellation: CancellationToken,
    *,
    maps: bool,
) -> None:
    """Write the files into a temporary folder; without ``maps`` the mask alone."""
    cancellation.check()
    write_labels(folder.labels, prediction.labels, prediction.geometry, image)
    cancellation.check()
    if maps:
        _write_maps(folder, prediction, image, cancellation)
    write_json(folder.json, prediction.record.model_dump(mode="json"))


def _write_maps(
    folder: PredictionFolder,
    prediction: Prediction,
    image: Path,
    cancellation: CancellationToken,
) -> None:
    """Write distances in 32,767 steps to the furthest, uncertainties in 255."""
    geometry, sdm = prediction.geometry, prediction.sdm_mm
    furthest = float(max(sdm.max(initial=0.0), -sdm.min(initial=0.0)))
    write_map(
        folder.sdm,
        sdm,
        geometry,
        image,
        slope=(furthest or 1.0) / np.iinfo(np.int16).max,
        dtype=np.int16,
        cancellation=cancellation,
    )
    write_map(
        folder.uncertainty,
        prediction.uncertainty,
        geometry,
        image,
        slope=1 / np.iinfo(np.uint8).max,
        dtype=np.uint8,
        cancellation=cancellation,
    )
    if (maps := prediction.feature_maps) is not None:
        cancellation.check()
        levels = {f"level_{at}": level for at, level in enumerate(maps.levels)}
        np.savez_compressed(
            folder.feature_maps,
            log_probabilities=maps.log_probabilities,
            strides=np.array(maps.strides, np.float64).reshape(-1, 3),
            **levels,  # type: ignore[arg-type]  # taken for `allow_pickle`
        )
