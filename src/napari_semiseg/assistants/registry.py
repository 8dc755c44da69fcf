"""Register assistants and find them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from napari_semiseg.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Kind, Prompt

DEFAULT = "geodesic"
"""Assistant that is taken where none is named."""


class Assistant(Protocol):
    """Turns prompts into a mask; see ``docs/adding-an-assistant.md``.

    Attributes
    ----------
    name : str
        Unique among assistants.
    title, hint : str
        What the panel shows: a choice in a list, and a sentence about it.
    takes : frozenset of {"point", "scribble", "box"}
        Which prompts it understands.
    needs_background : bool
        Whether it also needs a mark on background, or a box.
    """

    name: str
    title: str
    hint: str
    takes: frozenset[Kind]
    needs_background: bool

    def propose(
        self,
        image: NDArray[Any],
        spacing_mm: tuple[float, ...],
        prompts: Sequence[Prompt],
        current: NDArray[Any],
    ) -> NDArray[Any]:
        """Propose where the structure is; runs in a thread, without PyTorch.

        Parameters
        ----------
        image : ndarray (Z, Y, X)
            Grey values; read-only.
        spacing_mm : (z, y, x)
            Voxel size.
        prompts : sequence of Prompt
            Of the kinds that it takes, in the order in which they were made; all
            within the volume, one of them on the structure.
        current : ndarray (Z, Y, X), bool
            Where the structure is now; read-only.

        Returns
        -------
        ndarray (Z, Y, X), bool
            Where it proposes the structure.

        Raises
        ------
        SemisegError
            It cannot; the message says what to do.
        """


ASSISTANTS: Registry[Assistant] = Registry(
    "assistant", "napari_semiseg.assistants.shipped", "napari_semiseg.assistants"
)

Kept = TypeVar("Kept", bound="type[Assistant]")


def register(assistant: Kept) -> Kept:
    """Decorate a class of which one object is made, without arguments.

    Raises
    ------
    ConfigError
        Another one has that name already.
    """
    ASSISTANTS.add(assistant.name, assistant())
    return assistant


def assistants() -> Mapping[str, Assistant]:
    """List all assistants by name, `DEFAULT` first."""
    known = ASSISTANTS.entries()
    return {
        name: known[name] for name in sorted(known, key=lambda n: (n != DEFAULT, n))
    }
