"""Open cases in the main viewer, and pass on what the user does with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.project.cases.versions import MaskVersions
from napari_semiseg.project.review.undo import kept_masks, restore
from napari_semiseg.widgets.canvas.annotation import Annotation
from napari_semiseg.widgets.canvas.case_layers import CaseLayers
from napari_semiseg.widgets.canvas.case_model import CaseModel, OpenCase
from napari_semiseg.widgets.canvas.editing import AUTOSAVE_S, Editing
from napari_semiseg.widgets.canvas.linked_canvases import LinkedCanvases
from napari_semiseg.widgets.canvas.mask_sources import (
    choose_mask,
    largest_slice,
    model_words,
    proposed_by,
)
from napari_semiseg.widgets.canvas.prediction_updates import PredictionUpdates
from napari_semiseg.widgets.canvas.prefetch import Prefetch
from napari_semiseg.widgets.canvas.proposal_outlines import ProposalOutlines
from napari_semiseg.widgets.canvas.slice_strip import AnnotatedSlices
from napari_semiseg.widgets.canvas.surface_view import SurfaceView
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.background import report_error, show_errors
from napari_semiseg.widgets.common.compat import offer_writers
from napari_semiseg.widgets.common.link import watch_attention
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.questions import Questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.layers import Image

    from napari_semiseg.core.prediction import Prediction, SliceScore
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
    from napari_semiseg.widgets.canvas.mask_sources import OpenedMask
    from napari_semiseg.widgets.common.session import Session


class CaseView(QObject):
    """Opens cases of the session's project in a viewer and keeps their edits.

    The controller of the canvas: it alone knows the model of the open case and the
    napari layers and canvases that show it. `Connections.close_below` removes them
    and gives the viewer back as it was.

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
    likely_next : callable
        Gives ids of cases that are probably opened next; they are read in advance.
    first_place : callable
        Gives the slice of a case to look at first, axis and index, or None: that with
        most of the mask.
    parent : QObject, optional
        The dock.

    Attributes
    ----------
    model : CaseModel
        The open case; connect to its signals.
    layers : CaseLayers
        The layers of the case.
    canvases : LinkedCanvases
        The main canvas, and the maps beside it or over it.
    surfaces : SurfaceView
        The mask in three dimensions.
    annotation : Annotation
        Stores edits.
    """

    def __init__(
        self,
        session: Session,
        viewer: Any,
        questions: Questions | None = None,
        autosave_s: float = AUTOSAVE_S,
        likely_next: Callable[[], Iterable[str]] = tuple,
        first_place: Callable[[str], tuple[int, int] | None] = lambda _: None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.session = session
        self.viewer = viewer
        self.model = CaseModel()
        self._autosave_s = autosave_s
        self._before: str | None = None
        self._gone_to: tuple[int, int] | None = None
        self._first_place = first_place
        connections = Connections(self)  # first, hence closed after all others
        self.layers = CaseLayers(viewer)
        self.canvases = LinkedCanvases(viewer, self.layers, self)
        connections.at_close(self.canvases.close)
        self._orientation = planes.Orientation(viewer, connections)
        connections.at_close(self.clear)
        questions = questions or Questions(lambda: self.canvases.window)
        self.annotation = Annotation(session, self.model, questions)
        self.prefetch = Prefetch(session, likely_next, self)
        session.may_leave.append(self.may_leave)
        connections.at_close(lambda: session.may_leave.remove(self.may_leave))
        connections.add(self._layer_removed, viewer.layers.events.removed)
        connections.add(self._offer_formats, viewer.layers.selection.events.active)
        connections.add(self.open, session.case_requested)
        connections.add(self.clear, session.project_changed)
        connections.add(self._mark_edited, self.model.dirtied)
        watch_attention(viewer, self._count_time, connections)
        PredictionUpdates(session, self.model, self._update_prediction, self)
        self.slices = AnnotatedSlices(viewer, self.model, self.canvases, self)
        ProposalOutlines(viewer, self.model, self.layers, self.canvases, self)
        self.surfaces = SurfaceView(session, viewer, self.model, self.layers, self)

    # -- what is shown ---------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """Image layer of the case that is in view."""
        return self.layers.images.shown

    @property
    def mask(self) -> MaskLayer | None:
        """Labels layer of the case, uint8, with values as `MaskEncoding` has them."""
        return self.layers.mask

    @property
    def case(self) -> Case | None:
        """The case that is open."""
        return self.model.case

    @property
    def prediction(self) -> Prediction | None:
        """Newest prediction of the case."""
        return self.model.prediction

    @property
    def editing(self) -> Editing | None:
        """What the user has done to the mask that is open."""
        return self.model.editing

    @property
    def dirty(self) -> bool:
        """Whether there are edits in no file, neither label nor draft."""
        return self.model.dirty

    @property
    def text(self) -> str:
        """Where the mask comes from, in words; empty without a case."""
        return self.model.text

    @property
    def slice_index(self) -> int:
        """Index of the slice shown, along the axis that is not displayed."""
        axis = self.viewer.dims.order[0]
        spacing = self._open_case().case.geometry.spacing_mm[axis]
        return round(float(self.viewer.dims.point[axis]) / spacing)

    def open(self, case_id: str) -> bool:
        """Show a case.

        Returns
        -------
        bool
            False when unsaved edits keep the present case open, or the files of the
            new one cannot be read (the user is notified).
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
        self.annotation.leave()
        self._before = None
        self.canvases.clear()
        self.layers.drop()
        self.model.shown.emit()

    def go_to(self, axis: int, index: int) -> None:
        """Show a slice: ``axis`` 0, 1, 2 is axial, coronal, sagittal."""
        self._gone_to = (axis, index)
        planes.show(self.viewer, axis, index, self._open_case().case.geometry)

    def next_doubt(self) -> SliceScore | None:
        """Find the doubtful slice to look at next, or None.

        Those of the plane that is shown come first, then the other planes; of these
        what was not seen, behind the slice gone to last; then round again.
        """
        editing = self.model.editing
        if editing is None:
            return None
        here = int(self.viewer.dims.order[0])
        axes = sorted(range(3), key=lambda axis: axis != here)
        ranked = [one for axis in axes for one in self.model.doubtful_slices(axis)]
        places = [(one.axis, one.index) for one in ranked]
        # Behind the slice gone to last, wherever the user has looked since.
        start = places.index(self._gone_to) + 1 if self._gone_to in places else 0
        left = [
            one
            for one in ranked[start:] + ranked[:start]
            if not editing.is_done(one.axis, one.index)
        ]
        return min(
            left,
            key=lambda one: (
                editing.was_seen(one.axis, one.index),
                one.axis != here and not editing.was_seen(one.axis, one.index),
            ),
            default=None,
        )

    def next_doubtful_slice(self) -> None:
        """Go to the next doubtful slice of the prediction."""
        if self.model.prediction is None:
            self.session.say("No prediction of this case yet: nothing to rank.")
        elif (one := self.next_doubt()) is None:
            self.session.say("No doubtful slice is left in this case.")
        else:
            self.go_to(one.axis, one.index)
            place = f"{planes.NAMES[one.axis]} slice {one.index + 1}"
            self.session.say(f"{place}: {one.reason}")

    def previous_case(self) -> None:
        """Go back to the case that was open before this one."""
        if self.session.project is None or self._before is None:
            self.session.say("No other case was open before this one.")
        else:
            self.session.case_requested.emit(self._before)

    # -- edits -----------------------------------------------------------------------

    def mark_slice(self) -> None:
        """Count the slice shown as annotated, in any plane, or take that back."""
        if self.viewer.dims.ndisplay == 3:
            self.session.say("No slice is shown: go back from 3D first.")
        elif not self._shows_slice():
            self.session.say("No slice of this case is shown: remove other layers.")
        elif self.model.current is not None:
            axis = int(self.viewer.dims.order[0])
            self.annotation.mark_slice(axis, self.slice_index)

    def fill_from_prediction(self) -> None:
        """Put the prediction where no person has annotated, as one undo step."""
        if self.model.prediction is None:
            self.session.say("No prediction of this case yet: train, then predict.")
        elif self.annotation.fill(self.model.prediction):
            self.model.shown.emit()

    def save_draft(self) -> None:
        """Write the mask to the case's draft."""
        if self.model.current is not None:
            self.annotation.take_over()
            self.annotation.save_draft()

    def discard_draft(self) -> None:
        """Go back to what was last accepted, or proposed, after asking."""
        if self.model.current is not None and self.annotation.discard():
            self._reopen_mask(self.model.current)

    def accept(self, *, painted_only: bool = False, stay: bool = True) -> bool:
        """Store the mask as the case's human label.

        Parameters
        ----------
        painted_only : bool
            Count only voxels that were painted, and slices that were marked done,
            as annotated, and store 255 elsewhere; otherwise the whole volume counts.
        stay : bool
            Show what was stored. Who does not, opens another case or calls
            `show_accepted` next.

        Returns
        -------
        bool
            False when the user took it back or it could not be stored.
        """
        current = self.model.current
        if current is None:
            return False
        text = self.annotation.accept(painted_only=painted_only)
        if text is None:
            return False
        if stay:
            self.show_accepted()
        else:
            self.session.cases_changed.emit({current.case.id})
        if current.project.case(current.case.id).has_draft:
            text += " Another window has a draft of it, which is left as it is."
        self.session.offer(text, "Undo", self.undo_accept)
        return True

    def show_accepted(self) -> None:
        """Show the label of the open case that its files hold now."""
        self._reopen_mask(self._open_case(), drafts=False)

    def undo_accept(self) -> None:
        """Undo the last acceptance in this window, and open its case."""
        if self.session.leave() and (case_id := self.annotation.undo_accept()):
            self.session.cases_changed.emit({case_id})
            self.session.case_requested.emit(case_id)
            self.session.say(f"{case_id} is as it was before it was accepted.")

    def restore(self) -> None:
        """Let the user choose an earlier mask of the case as its draft."""
        current = self.model.current
        if current is None or not self.session.leave():
            return
        names = kept_masks(current.case)
        if not names:
            self.session.say(f"No earlier mask of {current.case.id} is kept.")
            return
        chosen = self.annotation.questions.pick("Earlier masks", names)
        if chosen is not None:
            with show_errors(self.session):
                restore(current.project, current.case, chosen)
                self._reopen_mask(current)

    def may_leave(self) -> bool:
        """Ask about edits in no file; False keeps the case open."""
        return self.annotation.may_leave()

    # -- pieces ----------------------------------------------------------------------

    def _open(self, case_id: str) -> None:
        project = self.session.project
        if project is None:
            raise LookupError("expected an open project, found none")
        case = project.case(case_id)
        found = self.prefetch.take(case, self.session.run_of(case))
        images, prediction = found.images, found.prediction
        versions = MaskVersions.of(case.folder)  # before they are read
        opened = choose_mask(case, prediction, MaskEncoding(project.labels))
        before = self.model.case
        self.annotation.leave()
        if before is not None and before.id != case_id:
            self._before = before.id
        self._gone_to = place = self._first_place(case_id)
        self.session.case_id = case_id
        with self.canvases.unlinked():
            self.canvases.annotate()
            self.layers.show_images(case, project.folder, [one.data for one in images])
            self._show_mask(project, case, prediction, opened, versions)
            self._orientation.apply()
            axis, index = place or (0, largest_slice(opened.values))
            planes.show(self.viewer, axis, index, case.geometry)
            self.viewer.reset_view()
        self._show_prediction()
        self.canvases.focus()
        self.session.case_opened.emit(case_id)
        self._describe(tuple({note: 0 for one in images for note in one.notes}))
        self.model.shown.emit()

    def _open_case(self) -> OpenCase:
        if self.model.current is None:
            raise LookupError("expected an open case, found none")
        return self.model.current

    def _show_mask(
        self,
        project: Project,
        case: Case,
        prediction: Prediction | None,
        opened: OpenedMask,
        versions: MaskVersions,
    ) -> None:
        """Show a mask in a layer of its own, and begin to edit it."""
        encoding = MaskEncoding(project.labels)
        self.annotation.leave()
        layer = self.layers.show_mask(opened.values, project.labels, encoding)
        editing = Editing(
            layer,
            opened.reference,
            encoding,
            self.annotation.autosave,
            autosave_s=self._autosave_s,
        )
        draft = case.read_draft()
        self.model.start(
            OpenCase(
                project,
                case,
                prediction,
                prediction,
                opened,
                editing,
                draft,
                versions,
            )
        )
        self.canvases.follow_mask()
        self._count_time()

    def _reopen_mask(self, current: OpenCase, *, drafts: bool = True) -> None:
        """Show the mask that the case's files hold now, the label without drafts."""
        project, prediction = current.project, current.prediction
        case, encoding = project.case(current.case.id), MaskEncoding(project.labels)
        versions = MaskVersions.of(case.folder)
        if not drafts:
            versions = replace(versions, draft=None)
        opened = choose_mask(case, prediction, encoding, drafts=drafts)
        self._show_mask(project, case, prediction, opened, versions)
        self.session.cases_changed.emit({case.id})
        self._describe()
        self.model.shown.emit()

    def _show_prediction(self) -> None:
        """Show the maps of the prediction, or none without one."""
        current = self.model.current
        if current is None or current.prediction is None or self.image is None:
            self.canvases.hide_maps()
        else:
            scheme = current.project.labels
            self.canvases.show(self.image, current.prediction, scheme)

    def _update_prediction(self, prediction: Prediction) -> None:
        """Show a newer prediction of the open case beside its mask, or in it."""
        taken = self.annotation.update_prediction(prediction)
        self._show_prediction()
        words = proposed_by(prediction.record)
        self._describe(() if taken else (f"beside it: {words}",))
        self.model.shown.emit()

    def _describe(self, notes: tuple[str, ...] = ()) -> None:
        """Name case and mask in the status line and on the canvases."""
        current = self._open_case()
        prediction = current.prediction
        model = "" if prediction is None else model_words(prediction.record)
        self.canvases.set_footnotes(current.opened.text, model)
        if notes:
            self.session.say("; ".join((current.case.id, *notes)))

    def _mark_edited(self, dirty: bool) -> None:
        if dirty:
            self.canvases.set_footnotes(f"{self.model.text}, then edited")

    def _count_time(self, event: Any = None) -> None:
        editing = self.model.editing
        if editing is not None:
            editing.active.tick()
            if self.viewer.dims.ndisplay == 2 and self._shows_slice():
                editing.look(int(self.viewer.dims.order[0]), self.slice_index)

    def _shows_slice(self) -> bool:
        """Whether a slice of the case is in view, not one of a larger layer beside it.

        Layers of the user may have more axes, or reach beyond the case.
        """
        dims, current = self.viewer.dims, self.model.current
        if dims.ndim != 3 or current is None:
            return False
        last = current.case.geometry.shape_zyx[dims.order[0]] - 1
        return 0 <= self.slice_index <= last

    def _offer_formats(self, event: Any = None) -> None:
        """Let Ctrl+S offer NIfTI first for the mask, and napari's own for the rest."""
        active = self.viewer.layers.selection.active
        of_case = active is not None and active is self.mask
        offer_writers("napari-semiseg", first=of_case)

    def _layer_removed(self, event: Any) -> None:
        """Keep the edits of a mask that the user removes from the layer list."""
        if event.value not in self.layers.all:
            return
        case_id = self._open_case().case.id
        if self.model.dirty:
            self.annotation.save_draft()
        self.clear()
        self.session.case_id = None
        self.session.case_opened.emit(None)
        self.session.say(f"{case_id} is closed: one of its layers was removed.")
