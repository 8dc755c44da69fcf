"""Two canvases beside the main one, on the same slice."""

from __future__ import annotations


class LinkedCanvases:
    """Image + distance map and image + uncertainty, in step with the main viewer."""

    def __init__(self, viewer: object) -> None:
        self.viewer = viewer

    def close(self) -> None:
        """Remove the dock and every callback."""
