"""Take in the masks of a second reader, and show how well the readers agree."""

from __future__ import annotations

from html import escape
from statistics import fmean
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QFormLayout,
    QLineEdit,
    QWidget,
)

from napari_semiseg.core.text import count
from napari_semiseg.project.review.readers import (
    LABEL,
    Agreement,
    add_reader,
    combine_readers,
    compare_readers,
)
from napari_semiseg.widgets.common.background import ProgressReport, in_background, warn
from napari_semiseg.widgets.elements.forms import (
    dialog_buttons,
    push_button,
    row_of,
    wrapped_label,
)
from napari_semiseg.widgets.elements.report import ReportDialog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_semiseg.imaging.metrics import Metrics
    from napari_semiseg.project.importing.propose import ProposeReport
    from napari_semiseg.widgets.common.session import Session

TITLE = "Second reader"
WIDTH, HEIGHT = 560, 420


class ReaderDialog(QDialog):
    """Asks whose masks lie where.

    Parameters
    ----------
    readers : sequence of str
        Further readers of whom there are masks by now.
    """

    def __init__(self, readers: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(TITLE)
        text = (
            "Masks that another reader has drawn of the same scans, named like the "
            "cases. They lie beside the labels, which stay as they are."
        )
        if readers:
            text += f" Leave both fields empty to compare {', '.join(readers)} again."
        self.masks = QLineEdit()
        self.reader = QLineEdit()
        self.reader.setPlaceholderText("such as Anna")
        choose = push_button("Choose…", self._choose)
        form = QFormLayout(self)
        form.addRow(wrapped_label(text))
        form.addRow("Folder", row_of(self.masks, choose))
        form.addRow("Reader", self.reader)
        buttons, self._compare = dialog_buttons(self, "Compare")
        form.addRow(buttons)
        self._may_be_empty = bool(readers)
        for line in (self.masks, self.reader):
            line.textChanged.connect(self._enable)
        self._enable()
        self.setMinimumWidth(460)

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of masks")
        if chosen:
            self.masks.setText(chosen)

    def _enable(self, _text: str = "") -> None:
        filled = [bool(line.text().strip()) for line in (self.masks, self.reader)]
        self._compare.setEnabled(
            all(filled) or (self._may_be_empty and not any(filled))
        )


class AgreementDialog(ReportDialog):
    """Shows how well readers agree, and what can be done about it.

    Parameters
    ----------
    found : sequence of Agreement
        Of the cases with several readers.
    show_slices, combine : callable
        Shows where they differ; proposes their consensus.
    """

    def __init__(
        self,
        found: Sequence[Agreement],
        show_slices: Callable[[], object],
        combine: Callable[[], object],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            "How well the readers agree",
            _described(found),
            parent,
            actions=(
                (
                    "Where they differ",
                    "In the queue, the largest area first",
                    show_slices,
                ),
                (
                    "Propose the consensus",
                    "STAPLE of all readers; labels stay",
                    combine,
                ),
            ),
        )
        self.resize(WIDTH, HEIGHT)


def ask_reader(
    session: Session, parent: QWidget, show_slices: Callable[[], object]
) -> None:
    """Ask for the masks of a second reader, and compare all readers."""
    project = session.project
    if project is None:
        return
    known = {name for case in session.cases() for name in case.folder.reader_masks()}
    dialog = ReaderDialog(sorted(known), parent)
    accepted = dialog.exec() == QDialog.DialogCode.Accepted
    masks, reader = dialog.masks.text().strip(), dialog.reader.text().strip()
    dialog.deleteLater()
    if not accepted:
        return
    progress = ProgressReport("Comparing the readers", session.say)

    def work() -> tuple[list[str], list[Agreement]]:
        added = add_reader(project, reader, masks) if reader else []
        return added, compare_readers(project, progress=progress)

    def show(answer: tuple[list[str], list[Agreement]]) -> None:
        added, found = answer
        if added:
            session.cases_changed.emit(set(added))
            session.say(f"Stored {count(len(added), 'mask')} of {reader}.")
        AgreementDialog(found, show_slices, combine, parent).show()

    def combine() -> None:
        in_background(
            session,
            "Combining the readers",
            lambda: combine_readers(project, progress=progress),
            combined,
        )

    def combined(report: ProposeReport) -> None:
        session.cases_changed.emit(set(report.proposed))
        session.runs_changed.emit()
        text = f"{count(len(report.proposed), 'consensus mask')} in {report.run}."
        if report.skipped:
            case, reason = next(iter(report.skipped.items()))
            warn(session, f"{text} {len(report.skipped)} left out, as {case}: {reason}")
        else:
            session.say(text)

    in_background(session, "Comparing the readers", work, show, progress=progress)


def _described(found: Sequence[Agreement]) -> str:
    """Make a table, means first, then the cases with the worst Dice first."""
    every: dict[tuple[tuple[str, str], str], list[Metrics]] = {}
    rows = []
    for item in found:
        for pair, classes in item.pairs.items():
            for name, metrics in classes.items():
                every.setdefault((pair, name), []).append(metrics)
                rows.append((metrics.dice, item.case, pair, name, metrics))
    lines = [
        _row(f"mean of {count(len(values), 'case')}", pair, name, values)
        for (pair, name), values in every.items()
    ]
    rows.sort(key=lambda row: row[:2])
    lines += [_row(case, pair, name, [one]) for _, case, pair, name, one in rows]
    titles = ("Case", "Readers", "Structure", "Dice", "HD95", "Mean distance")
    head = "".join(f"<th align='left'>{title}</th>" for title in titles)
    return f"<table cellpadding='4'><tr>{head}</tr>{''.join(lines)}</table>"


def _row(case: str, pair: tuple[str, str], name: str, of: Sequence[Metrics]) -> str:
    readers = " and ".join("the label" if one == LABEL else one for one in pair)
    dice, hd95, assd = (
        fmean(getattr(one, key) for one in of) for key in ("dice", "hd95_mm", "assd_mm")
    )
    numbers = f"{dice:.3f}", f"{hd95:.2f} mm", f"{assd:.2f} mm"
    cells = (escape(cell) for cell in (case, readers, name, *numbers))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
