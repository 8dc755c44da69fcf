"""The case that is open: its layers in the main viewer, and what becomes of edits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.widgets.canvas.annotation import Annotation
from napari_semiseg.widgets.canvas.case_layers import CaseLayers
from napari_semiseg.widgets.canvas.doubtful_slices import following
from napari_semiseg.widgets.canvas.editing import AUTOSAVE_S
from napari_semiseg.widgets.canvas.linked_canvases import LinkedCanvases
from napari_semiseg.widgets.canvas.mask_sources import (
    OpenedMask,
    busiest_slice,
    choose_mask,
    model_words,
)
from napari_semiseg.widgets.canvas.prediction_updates import NewerPrediction
from napari_semiseg.widgets.canvas.prefetch import ReadAhead
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.background import report_error
from napari_semiseg.widgets.common.link import attention
from napari_semiseg.widgets.common.questions import Questions

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.canvas.editing import Editing
    from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
    from napari_semiseg.widgets.common.session import Session


class CaseView:
    """Opens cases of the session's project in a viewer and keeps their edits.

    Parameters
    ----------
    session : Session
        Project, case and run of the dock.
    viewer : napari.Viewer
        The main viewer.
    questions : Questions, optional
        Asks the user; message boxes by default.
    autosave_s : float
        Seconds from an edit to the saving of the draft.

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

    def __init__(
        self,
        session: Session,
        viewer: Any,
        questions: Questions | None = None,
        autosave_s: float = AUTOSAVE_S,
    ) -> None:
        self.session = session
        self.viewer = viewer
        self.layers = CaseLayers(viewer)
        self.canvases = LinkedCanvases(viewer, self.layers.images)
        self.questions = questions or Questions(lambda: self.canvases.window)
        self.case: Case | None = None
        self.prediction: Prediction | None = None
        self.annotation: Annotation | None = None
        self.ahead = ReadAhead()
        self._before: str | None = None
        self._gone_to: tuple[int, int] | None = None
        self._autosave_s = autosave_s
        self._orientation = planes.Orientation(viewer)
        self._newer = NewerPrediction(self)
        session.case_requested.connect(self.open)
        session.project_changed.connect(self.clear)
        session.may_leave.append(self.may_leave)
        self._attention = attention(viewer, self._looked)
        viewer.layers.events.removed.connect(self._layer_removed)

    @property
    def image(self) -> Image | None:
        """Image layer of the case that is in view."""
        return self.layers.image

    @property
    def mask(self) -> MaskLayer | None:
        """Labels layer of the case, uint8, with values as `MaskEncoding` has them."""
        return self.layers.mask

    # -- what is shown ---------------------------------------------------------------

    @property
    def editing(self) -> Editing | None:
        """What the user has done to the mask that is open."""
        return None if self.annotation is None else self.annotation.editing

    @property
    def opened(self) -> OpenedMask | None:
        """The mask as it was opened."""
        return None if self.annotation is None else self.annotation.opened

    @property
    def dirty(self) -> bool:
        """Whether there are edits in no file, neither label nor draft."""
        return self.editing is not None and self.editing.dirty

    @property
    def text(self) -> str:
        """What is shown, in words; empty without a case."""
        return "" if self.opened is None else self.opened.text

    @property
    def slice_index(self) -> int:
        """Index of the slice shown, along the axis that is not displayed."""
        axis = self.viewer.dims.order[0]
        spacing = self._case().geometry.spacing_mm[axis]
        return round(float(self.viewer.dims.point[axis]) / spacing)

    def open(self, case_id: str) -> bool:
        """Show a case.

        Returns
        -------
        bool
            False when unsaved edits keep the present case open, or the files of the
            new one cannot be read (the user is told).
        """
        if not self.session.leave():
            return False
        try:
            self._open(case_id)
        except (SemisegError, OSError) as error:
            report_error(self.session, error)
            return False
        return True

    def clear(self) -> None:
        """Remove the layers of the case; edits in no file are lost."""
        self._leave_annotation()
        self.prediction = self.case = self._before = None
        self.layers.drop()
        self.canvases.clear()
        self.shown.emit()

    def go_to(self, axis: int, index: int) -> None:
        """Show a slice: ``axis`` 0, 1, 2 is axial, coronal, sagittal."""
        self._gone_to = (axis, index)
        planes.show(self.viewer, axis, index, self._case().geometry)

    def next_worst_slice(self) -> None:
        """Go to the next most doubtful slice of the prediction, then round again."""
        if self.prediction is None:
            self.session.say("No prediction of this case yet: nothing to rank.")
            return
        slices = self.prediction.record.score.slices
        worst = following(slices, self.editing, self._gone_to)
        if worst is None:
            self.session.say("No doubtful slice is left in this case.")
            return
        self.go_to(worst.axis, worst.index)
        place = f"{planes.NAMES[worst.axis]} slice {worst.index}"
        self.session.say(f"{place}: {worst.reason}")

    def previous_case(self) -> None:
        """Go back to the case that was open before this one."""
        project, before = self.session.project, self._before
        if project is None or before is None:
            self.session.say("No other case was open before this one.")
        else:
            self.session.case_requested.emit(before)

    # -- edits -----------------------------------------------------------------------

    def mark_slice(self) -> None:
        """Count the slice shown as annotated, in any plane, or take that back."""
        if self.viewer.dims.ndisplay == 3:
            self.session.say("No slice is shown: go back from 3D first.")
        elif self.annotation is not None:
            axis = int(self.viewer.dims.order[0])
            self.annotation.mark_slice(axis, self.slice_index)

    def fill_from_prediction(self) -> None:
        """Put the prediction where no person has annotated, as one undo step."""
        if self.prediction is None or self.annotation is None:
            self.session.say("No prediction of this case yet: train, then predict.")
        elif self.annotation.fill(self.prediction):
            self.shown.emit()

    def save_draft(self) -> None:
        """Write the mask to the case's draft."""
        if self.annotation is not None:
            self.annotation.save_draft()

    def discard_draft(self) -> None:
        """Go back to what was last accepted, or proposed, after asking."""
        if self.annotation is not None and self.annotation.discard():
            self._reopen_mask()

    def accept(self, *, painted_only: bool = False) -> bool:
        """Store the mask as the case's human label.

        Parameters
        ----------
        painted_only : bool
            Count only voxels that were painted, and slices that were marked done,
            as annotated, and store 255 elsewhere; otherwise the whole volume counts.

        Returns
        -------
        bool
            False when the user took it back or it could not be stored.
        """
        annotation = self.annotation
        if annotation is None or not annotation.accept(painted_only=painted_only):
            return False
        self._reopen_mask()
        self.session.say(f"Accepted {self._case().id}.")
        return True

    def may_leave(self) -> bool:
        """Ask about edits in no file; False keeps the case open."""
        return self.annotation is None or self.annotation.may_leave()

    def close(self) -> None:
        """Remove the layers, the side canvases and every callback."""
        self.session.case_requested.disconnect(self.open)
        self.session.project_changed.disconnect(self.clear)
        self._newer.close()
        self.session.may_leave.remove(self.may_leave)
        self._attention.close()
        self.viewer.layers.events.removed.disconnect(self._layer_removed)
        self.clear()
        self.ahead.close()
        self._orientation.close()
        self.canvases.close()

    # -- pieces ----------------------------------------------------------------------

    def _open(self, case_id: str) -> None:
        project = self.project
        case = project.case(case_id)
        found = self.ahead.take(case, self.run_of(case))
        images, prediction = found.images, found.prediction
        opened = choose_mask(case, prediction, MaskEncoding(project.labels))
        self._leave_annotation()
        if self.case is not None and self.case.id != case_id:
            self._before = self.case.id
        self.case, self.prediction, self._gone_to = case, prediction, None
        self.session.case_id = case_id
        voxels = [one.data for one in images]
        with self.canvases.unlinked():
            self.layers.show_images(case, project.folder, voxels)
            self.canvases.annotate()
            self._show_mask(opened)
            self._orientation.apply()
            planes.show(self.viewer, 0, busiest_slice(opened.values), case.geometry)
            self.viewer.reset_view()
        self.show_views()
        self.canvases.focus()
        self.session.case_opened.emit(case_id)
        self.say_what_is_shown(tuple({n: 0 for one in images for n in one.notes}))
        self.shown.emit()

    @property
    def project(self) -> Project:
        """The open project; `LookupError` without one."""
        if self.session.project is None:
            raise LookupError("expected an open project, found none")
        return self.session.project

    def _case(self) -> Case:
        if self.case is None:
            raise LookupError("expected an open case, found none")
        return self.case

    def run_of(self, case: Case) -> Run | None:
        """Run that is chosen in the panel, else the newest, that predicted the case."""
        project = self.project
        if self.session.run_id is not None:
            chosen = project.run(self.session.run_id)
            if chosen.has_prediction(case.id):
                return chosen
        return project.prediction_run(case.id)

    def _show_mask(self, opened: OpenedMask) -> None:
        self._leave_annotation()
        marking = MaskEncoding(self.project.labels)
        self.annotation = Annotation(
            self.session,
            self.project,
            self._case(),
            self.prediction,
            opened,
            self.layers.show_mask(opened.values, self.project.labels, marking),
            marking,
            self.questions,
            autosave_s=self._autosave_s,
        )
        editing = self.annotation.editing
        editing.counted.connect(self._pass_counts)
        editing.dirtied.connect(self._pass_dirty)
        editing.recount()

    def _pass_counts(self, counts: dict[int, int]) -> None:
        self.counted.emit(counts)

    def _pass_dirty(self, dirty: bool) -> None:
        if dirty:
            self.canvases.sign(f"{self.text}, then edited")
        self.dirtied.emit(dirty)

    def show_views(self) -> None:
        """Show the prediction on the side canvases, or hide them without one."""
        if self.prediction is None or self.image is None:
            self.canvases.clear()
        else:
            scheme = self.project.labels
            self.canvases.show(self.image, self.prediction, scheme)

    def _reopen_mask(self) -> None:
        """Show what the case's files hold now."""
        self.case = self.project.case(self._case().id)
        marking = MaskEncoding(self.project.labels)
        self._show_mask(choose_mask(self.case, self.prediction, marking))
        self.session.cases_changed.emit({self.case.id})
        self.say_what_is_shown()
        self.shown.emit()

    def _leave_annotation(self) -> None:
        if self.annotation is not None:
            self.annotation.close()
            self.annotation = None

    def say_what_is_shown(self, notes: tuple[str, ...] = ()) -> None:
        """Name case and mask in the status line and on the canvases."""
        record = None if self.prediction is None else self.prediction.record
        self.canvases.sign(self.text, "" if record is None else model_words(record))
        self.session.say("; ".join((f"{self._case().id}: {self.text}", *notes)))

    def _looked(self, event: Any = None) -> None:
        if self.editing is not None:
            self.editing.active.tick()

    def _layer_removed(self, event: Any) -> None:
        """Keep the edits of a mask that the user removes from the layer list."""
        if event.value not in self.layers.ours:
            return
        case = self._case()
        if self.dirty:
            self.save_draft()
        self.clear()
        self.session.case_id = None
        self.session.case_opened.emit(None)
        self.session.say(f"{case.id} is closed: one of its layers was removed.")
