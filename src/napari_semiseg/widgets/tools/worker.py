"""What the tool in hand makes of the mask, computed beside the window."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from psygnal import Signal

from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.tools.operations import Inputs, Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session

    Request = tuple[Tool, float, bool]

T = TypeVar("T")


class ToolWork:
    """Reads the mask for a tool and computes, one request at a time.

    While one is computed only the newest request waits, however fast a slider moves.

    Parameters
    ----------
    session : Session
        Of the dock.
    view : CaseView
        The case that is open.

    Signals
    -------
    ready(callable)
        Gives the classes that come out, of any slice by axis and index.
    refused(str)
        The tool cannot be used, and why.
    """

    ready = Signal(object)
    refused = Signal(str)

    def __init__(self, session: Session, view: CaseView) -> None:
        self._session = session
        self._view = view
        self._inputs: Inputs | None = None
        self._result: NDArray[np.uint8] | None = None
        self._prepared = False
        self._asked = 0
        self._waiting: Request | None = None
        self._busy = False

    def forget(self) -> None:
        """Take no result of what was asked for, and read the mask anew next time."""
        self._asked += 1
        self._inputs = self._result = self._waiting = None

    @property
    def stale(self) -> bool:
        """Whether the mask is no longer what the tool has read."""
        mask, inputs = self._view.mask, self._inputs
        if mask is None or inputs is None:
            return False
        return not np.array_equal(mask.data, inputs.marked)

    @property
    def has_read(self) -> bool:
        """Whether there are inputs."""
        return self._inputs is not None

    def result(self, tool: Tool, amount: float) -> NDArray[np.uint8] | None:
        """New mask, as it was previewed; None while that is not ready."""
        inputs = self._inputs
        if tool.pointwise and inputs is not None and self._prepared:
            return tool.run(inputs, amount)
        return self._result

    def start(self, tool: Tool, amount: float, *, vouch: bool) -> None:
        """Compute; `ready` or `refused` tells the end."""
        self._asked += 1
        self._waiting = (tool, amount, vouch)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        if self._waiting is None:
            return
        request, self._waiting, asked = self._waiting, None, self._asked
        tool, amount, vouch = request
        try:
            inputs = self._read(tool, vouch=vouch)
        except SemisegError as error:
            self._refuse(error)
            return
        prepare = tool.prepare
        if prepare is not None and not self._prepared:
            self._beside(
                tool,
                lambda: prepare(inputs),
                lambda made: self._go_on(request, inputs, made),
            )
        elif tool.pointwise:
            self.ready.emit(
                lambda axis, index: inputs.marking.confirm(
                    tool.run(inputs.at(axis, index), amount)
                )
            )
        elif tool.quick:
            self._computed(asked, _outcome(tool, inputs, amount))
        else:
            self._beside(
                tool,
                lambda: _outcome(tool, inputs, amount),
                lambda outcome: self._computed(asked, outcome),
            )

    def _beside(
        self, tool: Tool, work: Callable[[], T], then: Callable[[T], object]
    ) -> None:
        self._busy = True
        in_background(self._session, tool.name, work, then, self._free, quiet=True)

    def _free(self) -> None:
        self._busy = False
        self._next()

    def _go_on(self, request: Request, before: Inputs, made: Inputs) -> None:
        """Take what was prepared, unless the mask was read anew meanwhile."""
        if self._inputs is before:
            self._inputs, self._prepared = made, True
            self._waiting = self._waiting or request

    def _computed(self, asked: int, outcome: Any) -> None:
        """Show a result, unless another one was asked for meanwhile."""
        if asked != self._asked:
            return
        if isinstance(outcome, SemisegError):
            self._refuse(outcome)
            return
        self._result, classes = outcome
        self.ready.emit(lambda axis, index: np.take(classes, index, axis))

    def _refuse(self, error: SemisegError) -> None:
        self._result = None
        self.refused.emit(str(error))

    def _read(self, tool: Tool, *, vouch: bool) -> Inputs:
        """Copy what the tool needs; the layer may change while it computes."""
        view = self._view
        editing, case, mask, image = view.editing, view.case, view.mask, view.image
        if editing is None or case is None or mask is None or image is None:
            raise ProjectError("Open a case first.")
        values = editing.marking.values
        painted = mask.selected_label
        value = painted if painted in values else values[0]
        inputs = self._inputs
        if inputs is None or inputs.value != value:
            sdm = None
            if view.prediction is not None:
                sdm = dict(zip(values, view.prediction.sdm_mm, strict=True))
            self._prepared = tool.prepare is None
            inputs = Inputs(
                marked=mask.data.copy(),
                marking=editing.marking,
                value=value,
                locked=frozenset(view.layers.locked),
                spacing_mm=tuple(case.geometry.spacing_mm),
                image=image.data,
                sdm_mm=sdm,
            )
        self._inputs = replace(inputs, vouch=vouch)
        if tool.one_class and value in self._inputs.locked:
            raise ProjectError("This structure is locked: unlock it to change it.")
        return self._inputs


def _outcome(tool: Tool, inputs: Inputs, amount: float) -> Any:
    """New mask and its classes, or why there is none."""
    try:
        result = tool.run(inputs, amount)
    except SemisegError as error:
        return error
    return result, inputs.marking.confirm(result)
