"""Choose keys that clash with nothing, and bind them to napari viewers and layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari._app_model import get_app_model
from napari.layers import Image, Labels
from napari.utils.key_bindings import coerce_keybinding

from napari_semiseg.widgets.common.preferences import chosen_key
from napari_semiseg.widgets.elements.actions import short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_semiseg.widgets.elements.actions import Action, C

MODIFIERS = frozenset({"Shift", "Ctrl", "Alt", "Meta", ""})


def read_key(text: str) -> str:
    """Write a key as the panel does, such as ``Shift-A``; empty for no key.

    Raises
    ------
    ValueError
        It is not one key that napari knows, with or without Shift, Ctrl, Alt, Meta.
    """
    if not text.strip():
        return ""
    parts = str(coerce_keybinding(text.strip())).split("+")
    if parts[-1] in MODIFIERS or " " in parts[-1]:
        raise ValueError(f"expected a key such as Shift-A, found {text!r}")
    return "-".join(parts)


def keys_of_napari(viewer: Any) -> dict[str, str]:
    """What napari does at each key while a mask is in hand, and the panel at digits."""
    maps = [
        vars(one).get("class_keymap", {})
        for kind in (type(viewer), Labels, Image)
        for one in kind.__mro__
    ]
    bound = [
        (key, getattr(does, "__name__", "").replace("_", " "))
        for keymap in maps
        for key, does in keymap.items()
    ]
    app = get_app_model()
    of_menus = [(one.keybinding, one.command_id) for one in app.keybindings]
    bound += [(key, app.commands[name].title) for key, name in of_menus]
    found = {str(key).replace("+", "-"): does or "napari's own" for key, does in bound}
    return found | {str(digit): "choose a structure" for digit in range(10)}


def refusal(
    action: str, key: str, actions: Mapping[str, Action[C]], others: Mapping[str, str]
) -> str:
    """Why an action cannot have a key, in one line; empty where it can.

    Parameters
    ----------
    action : str
        Its id.
    key : str
        As `read_key` writes it.
    actions : mapping of str to Action
        All of the panel, with the keys that they have.
    others : mapping of str to str
        Keys that are not the panel's, and what they do.
    """
    owner = next(
        (a.text for a in actions.values() if a.id != action and key and a.key == key),
        others.get(key, ""),
    )
    if not owner:
        return ""
    return f"expected a free key, found {short(key)}, which is: {owner.lower()}"


def with_chosen_keys(
    actions: Mapping[str, Action[C]], others: Mapping[str, str]
) -> tuple[dict[str, Action[C]], list[str]]:
    """Give actions the keys that the user has chosen, but for those that clash.

    Returns
    -------
    dict of str to Action
        By id; one whose choice is refused has its own key.
    list of str
        What was refused, a line each.
    """
    chosen, refused = dict(actions), []

    def refuse(action: Action[C], reason: str) -> None:
        chosen[action.id] = action
        has = f"it keeps {short(action.key)}" if action.key else "it has none"
        refused.append(f"Key of {action.text!r}: {reason}; {has}.")

    for action in actions.values():
        try:
            key = read_key(chosen_key(action.id, action.key))
        except ValueError as error:
            refuse(action, str(error))
            continue
        chosen[action.id] = replace(action, key=key)
    while True:
        clash = next(
            (
                (action, reason)
                for action in reversed([*actions.values()])
                if chosen[action.id].key != action.key
                and (
                    reason := refusal(action.id, chosen[action.id].key, chosen, others)
                )
            ),
            None,
        )
        if clash is None:
            return chosen, refused
        refuse(*clash)


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
