"""Hold the state of the open case for everything that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_semiseg.widgets.elements.connections import Signal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.core.prediction import Prediction, SliceScore
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.cases.versions import MaskVersions
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.editing import Editing
    from napari_semiseg.widgets.canvas.mask_sources import OpenedMask


@dataclass(slots=True, eq=False)
class OpenCase:
    """A case and the mask of it that is edited.

    Attributes
    ----------
    project : Project
        Where it is stored.
    case : Case
        As its files were at the last look.
    prediction : Prediction or None
        Newest prediction, whose maps are shown.
    proposal : Prediction or None
        Prediction that was shown when the mask was opened; the mask is compared
        with it when it is accepted.
    opened : OpenedMask
        The mask as it was opened.
    editing : Editing
        The mask as it is now.
    first_draft : ndarray (Z, Y, X), uint8, or None
        The case's draft when it was opened.
    versions : MaskVersions or None
        Label and draft as this window knows them; where the files differ, another
        program has changed them. None is not compared.
    own_draft : bool
        Whether this window has written the draft.
    aside : str or None
        Name of the kept mask that holds the edits, where another program has changed
        label or draft meanwhile.
    """

    project: Project
    case: Case
    prediction: Prediction | None
    proposal: Prediction | None
    opened: OpenedMask
    editing: Editing
    first_draft: NDArray[np.uint8] | None
    versions: MaskVersions | None = None
    own_draft: bool = False
    aside: str | None = None


class CaseModel:
    """The open case, or none; changed by `CaseView` and `Annotation` only.

    Attributes
    ----------
    current : OpenCase or None
        The open case.

    Signals
    -------
    shown()
        Another case, mask or prediction is shown, or none.
    counted(dict of int to int)
        Voxels per value of the mask, a moment after each edit.
    dirtied(bool)
        Whether there are edits in no file.
    """

    shown = Signal()
    counted = Signal(object)
    dirtied = Signal(bool)

    def __init__(self) -> None:
        self.current: OpenCase | None = None

    @property
    def case(self) -> Case | None:
        """The case that is open."""
        return None if self.current is None else self.current.case

    @property
    def prediction(self) -> Prediction | None:
        """Newest prediction of the case."""
        return None if self.current is None else self.current.prediction

    @property
    def opened(self) -> OpenedMask | None:
        """The mask as it was opened."""
        return None if self.current is None else self.current.opened

    @property
    def editing(self) -> Editing | None:
        """The mask as it is now."""
        return None if self.current is None else self.current.editing

    @property
    def dirty(self) -> bool:
        """Whether there are edits in no file, neither label nor draft."""
        return self.editing is not None and self.editing.dirty

    @property
    def text(self) -> str:
        """Where the mask comes from, in words; empty without a case."""
        return "" if self.opened is None else self.opened.text

    def doubtful_slices(self, axis: int) -> list[SliceScore]:
        """Slices across an axis that the prediction is unsure of, the worst first."""
        found = () if self.prediction is None else self.prediction.record.score.slices
        return sorted((i for i in found if i.axis == axis), key=lambda one: -one.score)

    def start(self, current: OpenCase) -> None:
        """Take this as the open case, and pass its edits on."""
        self.current = current
        current.editing.counted.connect(self._pass_counts)
        current.editing.dirtied.connect(self._pass_dirty)
        current.editing.recount()

    def _pass_counts(self, counts: dict[int, int]) -> None:
        self.counted.emit(counts)

    def _pass_dirty(self, dirty: bool) -> None:
        self.dirtied.emit(dirty)
