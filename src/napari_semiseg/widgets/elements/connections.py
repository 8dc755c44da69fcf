"""Connect a widget to objects that outlive it, and undo that when it goes."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from inspect import ismethod
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import psygnal
from qtpy.QtCore import QObject

if TYPE_CHECKING:
    from collections.abc import Callable


class _SignalInstance(psygnal.SignalInstance):
    """Raises what a callback raised: psygnal's wrapper begins with empty lines."""

    def emit(self, *args: Any, **options: Any) -> None:
        try:
            super().emit(*args, **options)
        except psygnal.EmitLoopError as error:
            raise error.__cause__ or error from None


Signal = partial(psygnal.Signal, signal_instance_class=_SignalInstance)
"""Declares a signal of a model, as `psygnal.Signal` does."""


class _Undo:
    """Actions that are done once, the newest first."""

    def __init__(self) -> None:
        self.actions: list[Callable[[], object]] = []

    def all(self, _: object = None) -> None:
        while self.actions:
            self.actions.pop()()


class Connections(QObject):
    """What a widget did to objects that outlive it, undone when it goes.

    Qt drops the connections of a destroyed widget by itself. This is for the rest:
    signals of psygnal models (`Session`, `CaseModel`) and of napari (viewer, camera,
    layers), key bindings, event filters. Everything is undone once, the newest
    first, at the earliest of: the owner is destroyed, `close`, or `close_below` of a
    widget that contains the owner. No widget needs a method to close it.

    Parameters
    ----------
    owner : QObject, optional
        Widget, or controller with a parent; this becomes its child. Without one,
        somebody must call `close`.

    Examples
    --------
    A widget connects, and never disconnects::

        connections = Connections(self)
        connections.add(self._show_project, session.project_changed)
        connections.add(self._draw, viewer.dims.events.point, viewer.dims.events.order)
        connections.at_close(keys.release)

    A layer that is followed for a while has connections of its own::

        self._layer = Connections(self)  # once
        ...
        self._layer.close()  # leave the layer before
        self._layer.add(self._show_mode, mask.events.mode)

    Tests and the dock, which napari removes without destroying it::

        Connections.close_below(dock)

    Notes
    -----
    Bound methods are held weakly, so that connecting keeps no widget alive. What is
    given to `at_close` is held until it has been called, and must not touch the
    owner itself, which may be half destroyed by then.
    """

    def __init__(self, owner: QObject | None = None) -> None:
        super().__init__(owner)
        self._undo = _Undo()
        if owner is not None:
            # Qt holds a bound method weakly: no cycle goes through C++.
            owner.destroyed.connect(self._undo.all)

    def add(self, callback: Callable[..., object], *signals: Any) -> None:
        """Call ``callback`` on each of these signals of psygnal or napari."""
        kept = WeakMethod(callback) if ismethod(callback) else lambda: callback
        for signal in signals:
            signal.connect(callback)
            self._undo.actions.append(partial(_disconnect, signal, kept))

    def at_close(self, action: Callable[[], object]) -> None:
        """Call ``action`` when the connections are closed."""
        self._undo.actions.append(action)

    def close(self) -> None:
        """Undo everything so far; more can be added afterwards."""
        self._undo.all()

    @staticmethod
    def close_below(widget: QObject) -> None:
        """Close the connections of a widget and of everything in it."""
        for one in reversed(widget.findChildren(Connections)):
            one.close()


def _disconnect(signal: Any, kept: Callable[[], Any]) -> None:
    if (callback := kept()) is not None:
        # Before napari 0.9 it is compared with others, which Qt may have destroyed.
        with suppress(RuntimeError):
            signal.disconnect(callback)
