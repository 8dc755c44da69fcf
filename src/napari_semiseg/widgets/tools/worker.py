"""Compute the preview of a mask tool in a thread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_semiseg.core.cancellation import CancellationToken, Cancelled
from napari_semiseg.core.labels import voxel_counts
from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.elements.connections import Signal
from napari_semiseg.widgets.tools.registry import Inputs, Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.imaging.mask_encoding import MaskEncoding
    from napari_semiseg.widgets.canvas.case_layers import CaseLayers
    from napari_semiseg.widgets.canvas.case_model import CaseModel
    from napari_semiseg.widgets.common.session import Session

    Request = tuple[Tool, float, bool]

T = TypeVar("T")


class PreviewWorker:
    """Reads the mask for a tool and computes one request at a time.

    While one is computed, only the newest request waits, however fast a slider moves.

    Parameters
    ----------
    session : Session
        Of the dock.
    model : CaseModel
        The case that is open.
    layers : CaseLayers
        Its image and mask in the viewer.

    Signals
    -------
    ready(callable, tuple of dict or None)
        Gives the resulting classes of any slice by axis and index; and the voxels of
        each class now and then, None while they are still counted.
    refused(str)
        The tool cannot be used, and why.
    """

    ready = Signal(object, object)
    refused = Signal(str)

    def __init__(self, session: Session, model: CaseModel, layers: CaseLayers) -> None:
        self._session, self._model, self._layers = session, model, layers
        self._inputs: Inputs | None = None
        self._result: NDArray[np.uint8] | None = None
        self._result_of: tuple[object, ...] = ()
        self._prepared = False
        self._asked = self._stopped = 0
        self._waiting: Request | None = None
        self._busy = False

    def forget(self) -> None:
        """Ignore results of earlier requests, and read the mask again for the next."""
        self._asked += 1
        self._inputs = self._result = self._waiting = None

    def stop(self) -> None:
        """Forget, and wait no longer for what is computed now."""
        self._stopped += 1
        self.forget()

    @property
    def stale(self) -> bool:
        """Whether the mask has changed since the tool has read it."""
        mask, inputs = self._layers.mask, self._inputs
        if mask is None or inputs is None:
            return False
        return not np.array_equal(mask.data, inputs.mask)

    @property
    def changes(self) -> bool:
        """Whether the result that is ready differs from the mask that was read."""
        result, inputs = self._result, self._inputs
        if result is None or inputs is None:
            return False
        return not np.array_equal(result, inputs.mask)

    def result(
        self, tool: Tool, amount: float, *, human_verified: bool
    ) -> NDArray[np.uint8] | None:
        """New encoded mask as it was previewed; None while that is not ready."""
        inputs, asked = self._inputs, (tool.id, amount, human_verified)
        if self._result is not None and self._result_of == asked:
            return self._result
        if tool.slicewise and inputs is not None and self._prepared:
            return tool.run(inputs, amount)
        return None

    def start(self, tool: Tool, amount: float, *, human_verified: bool) -> None:
        """Compute a preview; `ready` or `refused` is emitted at the end."""
        self._asked += 1
        self._result = None
        self._waiting = (tool, amount, human_verified)
        if not self._busy:
            self._next()
        elif tool.slicewise and self._prepared:
            self._show_slices(self._waiting)

    def _next(self) -> None:
        if self._waiting is None:
            return
        request, self._waiting, asked = self._waiting, None, self._asked
        tool, amount, human_verified = request
        try:
            inputs = self._read(tool, human_verified=human_verified)
        except SemisegError as error:
            self._refuse(error)
            return
        prepare = tool.prepare
        if prepare is not None and not self._prepared:
            self._in_thread(
                tool,
                lambda: prepare(inputs),
                lambda made: self._prepared_inputs(request, inputs, made),
            )
        elif tool.reads_layers:
            self._computed(asked, request, _outcome(tool, inputs, amount))
        else:
            if tool.slicewise:
                self._show_slices(request)
            stopped = self._stopped
            token = CancellationToken(lambda: stopped != self._stopped)
            waited_for = replace(inputs, cancellation=token)
            self._in_thread(
                tool,
                lambda: _outcome(tool, waited_for, amount),
                lambda outcome: self._computed(asked, request, outcome),
            )

    def _show_slices(self, request: Request) -> None:
        """Show the slices that are looked at before the volume is computed."""
        tool, amount, human_verified = request
        try:
            inputs = self._read(tool, human_verified=human_verified)
        except SemisegError as error:
            self._refuse(error)
            return
        if self._prepared:  # else the class has changed
            self.ready.emit(
                lambda axis, index: inputs.encoding.confirm(
                    tool.run(inputs.at(axis, index), amount)
                ),
                None,
            )

    def _in_thread(
        self, tool: Tool, work: Callable[[], T], then: Callable[[T], object]
    ) -> None:
        self._busy = True
        in_background(self._session, tool.title, work, then, self._end_work, quiet=True)

    def _end_work(self) -> None:
        self._busy = False
        self._next()

    def _prepared_inputs(self, request: Request, before: Inputs, made: Inputs) -> None:
        """Keep what was prepared, unless the mask was read again meanwhile."""
        if self._inputs is before:
            self._inputs, self._prepared = made, True
            self._waiting = self._waiting or request

    def _computed(self, asked: int, request: Request, outcome: Any) -> None:
        """Show a result, unless another one was asked for meanwhile."""
        if asked != self._asked:
            return
        if isinstance(outcome, SemisegError):
            self._refuse(outcome)
            return
        self._result, classes, voxels = outcome
        tool, *how = request
        self._result_of = (tool.id, *how)
        self.ready.emit(lambda axis, index: np.take(classes, index, axis), voxels)

    def _refuse(self, error: SemisegError) -> None:
        self._result = None
        self.refused.emit(str(error))

    def _read(self, tool: Tool, *, human_verified: bool) -> Inputs:
        """Copy what the tool needs; the layer may change while it computes."""
        current, layers = self._model.current, self._layers
        mask, image = layers.mask, layers.images.shown
        if current is None or mask is None or image is None:
            raise ProjectError("Open a case first.")
        encoding = current.editing.encoding
        values = encoding.values
        painted = mask.selected_label
        value = painted if painted in values else values[0]
        inputs = self._inputs
        if inputs is None or inputs.value != value:
            predicted = current.prediction
            self._prepared = tool.prepare is None
            inputs = Inputs(
                mask=mask.data.copy(),
                encoding=encoding,
                value=value,
                locked=frozenset(layers.locked),
                spacing_mm=tuple(current.case.geometry.spacing_mm),
                image=image.data,
                predicted=None if predicted is None else predicted.labels,
                case=current.case,
                run=self._session.run_of(current.case) if tool.at_once else None,
            )
        self._inputs = replace(inputs, human_verified=human_verified)
        if not (tool.fills or tool.at_once) and value in self._inputs.locked:
            raise ProjectError("This structure is locked: unlock it to change it.")
        return self._inputs


def _outcome(tool: Tool, inputs: Inputs, amount: float) -> Any:
    """New mask, its classes, voxels of each before and after, or why there is none."""
    encoding = inputs.encoding
    try:
        result = tool.run(inputs, amount)
    except (SemisegError, Cancelled) as error:
        return error
    return result, encoding.confirm(result), voxels_of(encoding, inputs.mask, result)


def voxels_of(
    encoding: MaskEncoding, *masks: NDArray[np.uint8]
) -> list[dict[int, int]]:
    """Count the voxels of each class in some masks."""
    return [encoding.count(voxel_counts(one)) for one in masks]
