"""The command line: ``semiseg VERB PROJECT …``."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    import sys

    from napari_semiseg.cli.app import app
    from napari_semiseg.cli.errors import exit_code

    sys.exit(exit_code(app))
