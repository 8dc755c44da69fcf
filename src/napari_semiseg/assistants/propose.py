"""Run an assistant so that it can neither change, block nor break anything."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.assistants.prompts import check_prompts, marked
from napari_semiseg.assistants.registry import ASSISTANTS, DEFAULT
from napari_semiseg.core.cancellation import NEVER
from napari_semiseg.errors import ConfigError, SemisegError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Prompt
    from napari_semiseg.assistants.registry import Assistant
    from napari_semiseg.core.cancellation import CancellationToken

LOOK_SECONDS = 0.02
"""Time between two looks whether the user has cancelled."""


def propose(
    image: NDArray[Any],
    spacing_mm: Sequence[float],
    prompts: Sequence[Prompt],
    current: NDArray[np.bool_] | None = None,
    *,
    assistant: str = DEFAULT,
    cancellation: CancellationToken = NEVER,
) -> NDArray[np.bool_]:
    """Propose where a structure is, from what a user has marked.

    Waits for the assistant, which works in a thread of its own: once cancelled, this
    returns at once, and what an assistant that hangs may still answer is dropped.

    Parameters
    ----------
    image : ndarray (Z, Y, X)
        Grey values.
    spacing_mm : (z, y, x)
        Voxel size.
    prompts : sequence of Prompt
        At least one of them on the structure.
    current : ndarray (Z, Y, X), bool, optional
        Where the structure is now; nowhere by default.
    assistant : str
        A name out of `napari_semiseg.assistants.registry.assistants`.
    cancellation : CancellationToken
        Looked at all the while.

    Returns
    -------
    ndarray (Z, Y, X), bool
        True on every mark on the structure, false on every one on background.
        `MaskEncoding.renew` writes it into a mask as a proposal.

    Raises
    ------
    ConfigError
        No such assistant, prompts that it does not take or that lie outside of the
        volume, or an answer that is no mask of the image.
    SemisegError
        What the assistant itself refuses.
    Cancelled
        The user did not want to wait.
    """
    chosen = ASSISTANTS.find(assistant)
    check_prompts(prompts, image.shape)
    _check_taken(chosen, prompts)
    if current is None:
        current = np.zeros(image.shape, bool)
    image, current = _read_only(image), _read_only(current)
    spacing = tuple(map(float, spacing_mm))

    def work() -> object:
        return chosen.propose(image, spacing, prompts, current)

    mask = _checked(_answer(chosen, work, cancellation), chosen, image.shape)
    for foreground in (False, True):
        mask[tuple(marked(prompts, foreground=foreground).T)] = foreground
    return mask


def _check_taken(assistant: Assistant, prompts: Sequence[Prompt]) -> None:
    kinds = {prompt.kind for prompt in prompts}
    if strange := sorted(kinds - assistant.takes):
        raise ConfigError(
            f"{assistant.title}: expected prompts out of "
            f"{', '.join(sorted(assistant.takes))}, found {', '.join(strange)}; remove "
            "them or choose another assistant"
        )
    bounded = "box" in kinds or not all(prompt.foreground for prompt in prompts)
    if assistant.needs_background and not bounded:
        raise ConfigError(
            f"{assistant.title}: expected marks on the structure and on background, "
            "found only the first; mark some background around it too"
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _answer(
    assistant: Assistant,
    work: Callable[[], object],
    cancellation: CancellationToken,
) -> object:
    """Result of a thread; nobody waits for it once it is cancelled."""
    results: list[object] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  SystemExit of foreign code too
            errors.append(error)

    thread = threading.Thread(
        target=run, name=f"assistant {assistant.name}", daemon=True
    )
    thread.start()
    while thread.is_alive():
        cancellation.check()
        thread.join(LOOK_SECONDS)
    if errors and isinstance(errors[0], SemisegError):
        raise errors[0]
    if errors:
        raise ConfigError(
            f"{assistant.title}: expected a mask, found {type(errors[0]).__name__}: "
            f"{errors[0]}; choose another assistant, and report it to its authors"
        ) from errors[0]
    return results[0]


def _checked(
    answer: object, assistant: Assistant, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    array = np.asarray(answer)
    if array.shape != shape or array.dtype.kind not in "biu":
        raise ConfigError(
            f"{assistant.title}: expected a mask of shape {shape} (z, y, x), found "
            f"{array.dtype} {array.shape}; choose another assistant, and report it to "
            "its authors"
        )
    return array.astype(bool)
