"""The command line: ``semiseg VERB PROJECT …``."""

from __future__ import annotations

from napari_semiseg.cli.app import main

__all__ = ["main"]
