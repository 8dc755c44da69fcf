"""Bars that are drawn while something goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from napari_semiseg.cli import render

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import ProgressColumn


class Live:
    """Bars with a note each, and lines above them, on stderr.

    Nothing is drawn before the first bar or line: a refusal stays the only line.

    Parameters
    ----------
    columns : ProgressColumn
        Further columns before the note, which has what the terminal leaves to it.
    quiet : bool
        Show nothing.
    """

    def __init__(self, *columns: ProgressColumn, quiet: bool) -> None:
        self._shown = False
        self._progress = Progress(
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True)
            ),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            *columns,
            TextColumn(
                "{task.fields[note]}",
                markup=False,
                table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis"),
            ),
            console=render.console(stderr=True),
            disable=quiet,
            expand=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            self._progress.stop()

    def _show(self) -> None:
        if not self._shown:
            self._progress.start()
            self._shown = True

    def _line(self, text: str) -> None:
        self._show()
        if not self._progress.disable:
            self._progress.console.print(text, markup=False)
