"""Check a project: what is wrong with it, in words, and a button to mend it."""

from __future__ import annotations

from html import escape
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from napari_semiseg.core.text import count
from napari_semiseg.project.doctor import check_project
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.elements.report import ReportDialog

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from napari_semiseg.project.doctor import Diagnosis, Finding
    from napari_semiseg.widgets.common.session import Session

WORDS = {
    "folder": "The folder is kept in step with a cloud",
    "settings": "The settings of the project cannot be read",
    "link": "A link leads out of the project",
    "unfinished": "An unfinished file was left behind",
    "case": "What is known of this case cannot be read",
    "image": "The image is missing or has changed",
    "mask": "A mask cannot be used",
    "run": "A training was interrupted, or is damaged",
    "prediction": "A prediction cannot be used",
}
ELSEWHERE = "More > Find moved images… points to the folder they are in now"
WIDTH, HEIGHT = 520, 420


class CheckDialog(ReportDialog):
    """Shows findings, with a button *Mend* while something can be mended.

    Parameters
    ----------
    diagnosis : Diagnosis
        What was found.
    mend : callable
        Mends, and shows what is left.
    """

    def __init__(
        self,
        diagnosis: Diagnosis,
        mend: Callable[[], object],
        parent: QWidget | None = None,
    ) -> None:
        can_mend = any(item.mendable for item in diagnosis.open)
        tip = "Nothing is deleted but unfinished files"
        super().__init__(
            "Check of the project",
            "".join(map(_describe, diagnosis.findings)),
            parent,
            head=summary(diagnosis),
            actions=[("Mend", tip, mend)] if can_mend else [],
        )
        self.resize(WIDTH, HEIGHT)


def check_open_project(session: Session, parent: QWidget, mend: bool = False) -> None:
    """Check the open project beside the window, and show what was found."""
    project = session.project
    if project is None:
        return

    def show(diagnosis: Diagnosis) -> None:
        if mend:
            session.cases_changed.emit(None)
            session.runs_changed.emit()
        session.say(summary(diagnosis))
        if diagnosis.findings:
            CheckDialog(
                diagnosis, lambda: check_open_project(session, parent, True), parent
            ).show()

    in_background(
        session,
        "Mending the project" if mend else "Checking the project",
        lambda: check_project(project.folder, mend=mend),
        show,
    )


def summary(diagnosis: Diagnosis) -> str:
    """Say in a sentence how a project is."""
    looked = f"{count(diagnosis.cases, 'case')} and {count(diagnosis.runs, 'training')}"
    if not diagnosis.findings:
        return f"Checked {looked}: all is well."
    mended = len(diagnosis.findings) - len(diagnosis.open)
    parts = [f"{mended} mended"] if mended else []
    parts += [f"{len(diagnosis.open)} to look at"] if diagnosis.open else []
    return f"Checked {looked}: {', '.join(parts)}."


def _describe(item: Finding) -> str:
    parts = PurePosixPath(item.path).parts
    place = parts[1] if len(parts) > 1 else item.path
    if item.kind == "prediction":
        place = parts[-1]
    remedy = ELSEWHERE if "--images" in item.remedy else item.remedy
    does = "Mending: it " if item.mendable else ""
    does = "Mended: it " if item.mended else does
    return (
        f"<p><b>{escape(place)}</b>: {WORDS[item.kind]}.<br>"
        f"<small>{escape(item.problem)}</small><br><i>{does}{escape(remedy)}</i></p>"
    )
