"""Bind keys of napari viewers and layers, and restore what was bound before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def bind_keys(
    provider: Any, callbacks: Mapping[str, Callable[[], object]]
) -> Callable[[], None]:
    """Bind keys, whatever was bound to them.

    Parameters
    ----------
    provider : napari viewer or layer
        Anything with ``keymap`` and ``bind_key``.
    callbacks : mapping of str to callable
        What each key does, by the key as napari writes it. What returns a callable is
        undone by that when the key was held down.

    Returns
    -------
    callable
        Restores the keys.
    """
    before = {key: provider.bind_key(key, None) for key in callbacks}
    for key, callback in callbacks.items():
        provider.bind_key(key, _ignoring_provider(callback), overwrite=True)

    def restore() -> None:
        for key, bound in before.items():
            provider.bind_key(key, bound, overwrite=True)

    return restore


def _ignoring_provider(callback: Callable[[], object]) -> Callable[[Any], object]:
    def press(_: Any) -> object:
        return callback()

    return press
