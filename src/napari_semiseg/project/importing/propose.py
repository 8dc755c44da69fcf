"""Take what another program, or a registration, segments as first proposals."""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_semiseg.core.boxes import bounding_box
from napari_semiseg.core.cancellation import NEVER, CancellationToken, Cancelled
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED, voxel_counts
from napari_semiseg.core.prediction import (
    CaseScore,
    Prediction,
    PredictionRecord,
    map_dtype,
)
from napari_semiseg.core.text import listed
from napari_semiseg.errors import ConfigError, ImageError, ProjectError, SemisegError
from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.io.images import case_id, find_images
from napari_semiseg.io.label_tables import read_label_table
from napari_semiseg.io.masks import read_labels
from napari_semiseg.io.structures import is_structures
from napari_semiseg.project.cases.history import Proposed
from napari_semiseg.project.cases.labels import check_mask, read_mask
from napari_semiseg.project.importing.atlas import AtlasSource
from napari_semiseg.project.importing.command import IMAGE, MASK, Command
from napari_semiseg.project.importing.match_masks import MaskFolder
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.events import FinishReason
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.project import Project

MINUTES = 60.0
"""How long a program may take for one case."""
LIMIT_MM = 20.0
"""Distance from the surface up to which the stored distance map is exact."""
UNKNOWN = "unknown"
"""Kind of uncertainty of a mask that comes without any: 1 everywhere."""


@dataclass(frozen=True, slots=True)
class ProposeReport:
    """Run that holds the masks, ids with one, and why others have none.

    ``stopped`` says whether it was asked to end before all were done.
    """

    run: str
    proposed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


def propose(
    project: Project,
    command: str | Sequence[str] | None = None,
    cases: Iterable[CaseRef] | None = None,
    *,
    masks: str | Path | None = None,
    atlas: bool = False,
    structures: Mapping[str, int] | None = None,
    minutes: float = MINUTES,
    cancellation: CancellationToken = NEVER,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ProposeReport:
    """Take masks as proposals: another program's, those of a folder, or of an atlas.

    They lie in a run of their own, as predictions do; labels and drafts stay as they
    are. The history of each case says which command made its mask.

    Parameters
    ----------
    project : Project
        The project.
    command : str or sequence of str
        As ``"TotalSegmentator -i {image} -o {mask} --ml"``, one image at a time;
        ``{image:T1}`` is another channel of the case. ``{mask}`` is a path that ends
        in ``.nii.gz``; the program may make a folder of it, with a file for each
        structure.
    cases : iterable of Case or str, optional
        What to segment; by default what has neither label nor draft, and a mask where
        ``masks`` are given.
    masks : Path, optional
        In place of a command: folder of masks that are named like the cases, such as
        predictions of nnU-Net. Values are those of its ``dataset.json`` where it has
        one, by the names of the classes.
    atlas : bool
        In place of both: register the labelled scans to each case, and let them vote,
        as `AtlasSource` does.
    structures : mapping of str to int, optional
        Class by value in the mask, by the structure's name in a file of named ones, or
        by the file's name in a folder; what is not named is background. By default
        values and names are those of the classes.
    minutes : float
        How long the program, or the registration, may take for a case.
    cancellation : CancellationToken
        Ends the program too.
    progress : callable
        Called with the number of cases done, and of all of them.

    Returns
    -------
    ProposeReport
        A case whose program fails, takes too long, or writes no mask of the image
        is skipped with the reason; the others go on.

    Raises
    ------
    SemisegError
        The command, the cases or the structures are wrong. Nothing is run then.
    """
    if (command is not None) + (masks is not None) + atlas != 1:
        raise ConfigError(
            "expected a command, a folder of masks or an atlas; give one of them"
        )
    if atlas and structures:
        raise ConfigError(
            "expected no structures with an atlas, whose classes are those of the "
            "project; leave them out"
        )
    if not 0 < minutes < float("inf"):
        raise ConfigError(
            f"expected minutes above 0 and finite for a case, found {minutes:g}"
        )
    values = _classes(project, structures or {})
    chosen = _chosen(project, cases)
    source: MaskProvider
    if masks is not None:
        source = _Folder(Path(masks), chosen, all_of_them=cases is not None)
        chosen = [case for case in chosen if case.id in source.paths]
        values = values or source.values(project.labels)
    elif atlas:
        source = AtlasSource(project, minutes * 60)
    else:
        assert command is not None
        source = _Program(Command.parse(command), minutes * 60)
    return propose_from(project, source, chosen, values, cancellation, progress)


class MaskProvider(Protocol):
    """Program or model that makes masks of cases: its name and its arguments."""

    tool: str
    text: str

    def version(self) -> str | None:
        """Say which version of the program it is, where that is known."""

    def labels(
        self,
        case: Case,
        run: Run,
        structures: Mapping[str, int],
        cancellation: CancellationToken,
    ) -> NDArray[np.uint8]:
        """Give the mask (Z, Y, X) of a case, background where there is no class."""


def propose_from(
    project: Project,
    source: MaskProvider,
    chosen: Sequence[Case],
    values: Mapping[str, int],
    cancellation: CancellationToken = NEVER,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ProposeReport:
    """Store the masks of a source in a run of their own; as `propose`."""
    version = source.version()
    run = Run.of_command(project, source.tool, source.text, version)
    run.append(Started(run=run.id, method=source.tool, pid=os.getpid()))
    report = ProposeReport(run.id)

    def stopped() -> bool:
        cancellation.check()
        return run.stop_requested

    both, start = CancellationToken(stopped), time.monotonic()
    reason: FinishReason = "cancelled"
    try:
        for done, case in enumerate(chosen, start=1):
            both.check()
            try:
                if case.state is CaseState.EXCLUDED:
                    raise ProjectError("it is excluded")
                case.check_images()
                labels = source.labels(case, run, values, both)
                made = _prediction(labels, case, run, source.tool)
                run.write_prediction(made, case.image, both)
                entry = Proposed(run=run.id, command=source.text, version=version)
                project.note(case, entry)
            except (SemisegError, OSError) as error:
                report.skipped[case.id] = str(error)
            else:
                report.proposed.append(case.id)
            progress(done, len(chosen))
        reason = "completed" if report.proposed else "failed"
    except Cancelled:
        run.clear_stop()
    finally:
        first = next(iter(report.skipped.values()), None)
        run.append(
            Finished(
                run=run.id,
                reason=reason,
                step=0,
                seconds=time.monotonic() - start,
                error=first if reason == "failed" else None,
            )
        )
    return replace(report, stopped=reason == "cancelled")


def _classes(project: Project, structures: Mapping[str, int]) -> dict[str, int]:
    """Class by value or name; refuses what is no class of the project."""
    values = {name: int(value) for name, value in structures.items()}
    if strange := sorted(set(values.values()) - set(project.labels.values)):
        raise ConfigError(
            f"expected structures to be classes of the project "
            f"({listed([str(value) for value in project.labels.values])}), found "
            f"{listed([str(value) for value in strange])}; give one of the former"
        )
    return values


def _chosen(project: Project, cases: Iterable[CaseRef] | None) -> list[Case]:
    """Cases that were named, else those with neither label nor draft."""
    if cases is None:
        chosen = project.cases(state=(CaseState.UNLABELLED, CaseState.PROPOSED))
    else:
        chosen = [project.case(case) for case in cases]
    if not chosen:
        raise ProjectError(
            "expected cases without a label, found none; name some, or add images"
        )
    return chosen


class _Program:
    """A program that segments a case when it is asked to, within some seconds."""

    def __init__(self, command: Command, seconds: float) -> None:
        self._command = command
        self._seconds = seconds
        self.tool, self.text = command.tool, command.text

    def version(self) -> str | None:
        return self._command.version()

    def labels(
        self,
        case: Case,
        run: Run,
        structures: Mapping[str, int],
        cancellation: CancellationToken,
    ) -> NDArray[np.uint8]:
        """Run the program on a case, and read what it wrote."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            mask = Path(folder, "mask.nii.gz")
            paths = {MASK: mask, IMAGE: case.image}
            for channel in case.channels:
                paths[f"{{image:{channel.name}}}"] = channel.image
                if channel.volume is not None:
                    raise ImageError(
                        f"{channel.image}: expected a file of one image, found several "
                        "in it; save them one by one, and add those"
                    )
            self._command.run(paths, run.folder.log, self._seconds, cancellation)
            if not mask.exists():
                # Some programs give the file an ending or a name of their own.
                others = sorted(mask.parent.iterdir())
                if len(others) != 1:
                    found = listed([other.name for other in others]) or "nothing"
                    raise ImageError(
                        f"expected a mask of '{self.tool}' at {MASK}, found {found}; "
                        f"see {run.folder.log}"
                    )
                mask = others[0]
            return _read(mask, case, structures)


class _Folder:
    """Masks that another program has made already.

    Attributes
    ----------
    paths : dict of str to Path
        Masks by id of the case.
    tool, text : str
        Which program, as far as its files tell, and where the masks are.
    """

    def __init__(
        self, folder: Path, cases: Sequence[Case], *, all_of_them: bool
    ) -> None:
        found = MaskFolder(folder)
        ids = [case.id for case in cases]
        self.paths = found.require(ids) if all_of_them else found.pair(ids)
        if not self.paths:
            raise ProjectError(
                f"{folder}: expected masks named like the cases, found none of these; "
                f"rename them, or name the cases"
            )
        self._table = folder / "dataset.json"
        is_nnunet = self._table.is_file() and (folder / "plans.json").is_file()
        self.tool = "nnU-Net" if is_nnunet else folder.resolve().name or "masks"
        self.text = str(folder.resolve())

    def version(self) -> str | None:
        return None

    def labels(
        self,
        case: Case,
        _run: Run,
        structures: Mapping[str, int],
        _cancellation: CancellationToken,
    ) -> NDArray[np.uint8]:
        """Read the mask of a case."""
        return _read(self.paths[case.id], case, structures)

    def values(self, scheme: LabelScheme) -> dict[str, int]:
        """Class by value in the masks, where a table of the folder has other values."""
        if not self._table.is_file():
            return {}
        of_name = {_plain(item.name): item.value for item in scheme}
        table = read_label_table(self._table)
        unknown = [item.name for item in table if _plain(item.name) not in of_name]
        if unknown:
            raise ConfigError(
                f"{self._table}: expected the classes of the project ({scheme}), found "
                f"{listed(unknown)}; say which is which with --structure VALUE=CLASS"
            )
        return {str(item.value): of_name[_plain(item.name)] for item in table}


def _read(mask: Path, case: Case, structures: Mapping[str, int]) -> NDArray[np.uint8]:
    """Classes (Z, Y, X) of what a program wrote, background where there is none."""
    if mask.is_dir():
        return _read_folder(mask, case, structures)
    if is_structures(mask):
        return read_mask(mask, case.geometry, case.scheme, structures)
    if not structures:
        labels = check_mask(mask, case, case.scheme)
        return np.where(labels == UNANNOTATED, np.uint8(BACKGROUND), labels)
    of_value = np.zeros(256, np.uint8)
    for name, value in structures.items():
        if not name.isdecimal() or int(name) > UNANNOTATED:
            raise ImageError(
                f"expected structures by their value in the mask, as 51=1, found "
                f"{name!r}; the program wrote one file"
            )
        of_value[int(name)] = value
    found: NDArray[np.uint8] = of_value[read_labels(mask, case.geometry)]
    return found


def _read_folder(
    folder: Path, case: Case, structures: Mapping[str, int]
) -> NDArray[np.uint8]:
    """Combine a file for each structure; where two overlap, the later one is kept."""
    by_name = {_plain(case_id(path)): path for path in find_images(folder)}
    values = structures or {item.name: item.value for item in case.scheme}
    chosen = {name: by_name[_plain(name)] for name in values if _plain(name) in by_name}
    if not chosen:
        raise ImageError(
            f"expected files named {listed(list(values))}, found "
            f"{listed(sorted(path.name for path in by_name.values()))}; say which is "
            "which with --structure NAME=VALUE"
        )
    labels = np.zeros(case.geometry.shape_zyx, np.uint8)
    for name, path in chosen.items():
        labels[read_labels(path, case.geometry) > 0] = values[name]
    return labels


def _plain(name: str) -> str:
    """Letters and digits of a name: ``left atrium`` is ``Left_Atrium``."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _prediction(
    labels: NDArray[np.uint8], case: Case, run: Run, tool: str
) -> Prediction:
    """Make a prediction of a mask; how certain it is nobody knows."""
    geometry, box = case.geometry, bounding_box(labels > 0)
    voxels = voxel_counts(labels)
    return Prediction(
        record=PredictionRecord(
            case=case.id,
            run=run.id,
            step=0,
            method=tool,
            image_sha256=case.record.sha256,
            uncertainty_kind=UNKNOWN,
            score=CaseScore(
                uncertainty=1.0,
                entropy=1.0,
                gap=1.0,
                volumes_ml={
                    item.name: float(voxels[item.value] * geometry.voxel_ml)
                    for item in case.scheme
                },
                slices=(),
                reach=tuple((at.start, at.stop - 1) for at in box or ()),
            ),
            at=time.time(),
        ),
        geometry=geometry,
        labels=labels,
        sdm_mm=np.stack(
            [
                truncated_distance(labels == value, geometry.spacing_mm, LIMIT_MM)
                for value in case.scheme.values
            ],
            dtype=map_dtype(labels.shape),
            casting="same_kind",
        ),
        uncertainty=np.ones(labels.shape, map_dtype(labels.shape)),
    )
