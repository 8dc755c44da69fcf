"""The layers of the case that is open in the main viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_semiseg.widgets.session import Session


class CaseView:
    """Opens cases of the session's project in a viewer; see the methods."""

    def __init__(self, session: Session, viewer: object) -> None:
        self.session = session
        self.viewer = viewer

    @property
    def dirty(self) -> bool:
        """Whether there are edits that are neither accepted nor in a draft."""
        return False

    def open(self, case_id: str) -> bool:
        """Show a case; False when unsaved edits keep the present one open."""
        raise NotImplementedError

    def save_draft(self) -> None:
        """Write the edits to the case's draft."""

    def accept(self) -> None:
        """Store the mask as the case's human label."""

    def close(self) -> None:
        """Remove the layers and every callback."""
