"""The command line: ``semiseg VERB PROJECT …``."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    import sys

    from napari_semiseg.errors import STOPPED

    try:
        from napari_semiseg.cli.app import app
        from napari_semiseg.cli.errors import exit_code
        from napari_semiseg.execution.local import end_with_parent

        end_with_parent()
        sys.exit(exit_code(app))
    except KeyboardInterrupt:  # while this is loaded
        sys.exit(STOPPED)
