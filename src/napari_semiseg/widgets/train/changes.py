"""Say what the newest model changed against the one before it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari_semiseg.core.text import millilitres
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.review.model_changes import NOTABLE, compare_models
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.cards import NumberCard
from napari_semiseg.widgets.elements.forms import markup_label, plain, wrapped_label
from napari_semiseg.widgets.elements.style import look

if TYPE_CHECKING:
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.model_changes import ClassChange, ModelChanges
    from napari_semiseg.widgets.common.session import Session

SHOWN_CLASSES = 6


class ChangesCard(NumberCard):
    """Both models on the scans that nobody has verified.

    Parameters
    ----------
    session : Session
        Whose project is compared.
    """

    def __init__(self, session: Session) -> None:
        super().__init__("What changed")
        self.classes = markup_label(wrapped=True)
        self.quality = look(wrapped_label(), "secondary")
        self.open_button = KeyButton(
            "Open the most changed", "", "arrow_right", run=self.open_most
        )
        self.open_button.setToolTip("The case in which both models differ most")
        self.add(self.classes, self.quality, self.open_button)
        self._session = session
        self._stale, self._reading = True, False
        self.found: ModelChanges | None = None
        self.hide()

    def refresh(self) -> None:
        """Compare anew, in the background, as soon as the tab is looked at."""
        self._stale = True
        parent = self.parentWidget()
        if parent is not None and parent.isVisible():
            self.read()

    def clear(self) -> None:
        """Show nothing, as while a training runs."""
        self.found, self._stale = None, True
        self.hide()

    def read(self) -> None:
        """Compare the newest model with the one before, where there are two."""
        project = self._session.project
        if project is None or self._reading or not self._stale:
            return
        self._stale, self._reading = False, True
        in_background(
            self._session,
            "Comparing the two models",
            lambda: _compare(project),
            lambda found: self._show(project, found),
            self._ended,
            quiet=True,
        )

    def open_most(self) -> None:
        """Open the case that changed most, of those still unverified."""
        case = self._most()
        if case is not None:
            self._session.case_requested.emit(case)

    def show_button(self) -> None:
        """Name the case that the button opens; none is left once all are verified."""
        case = self._most()
        self.open_button.setEnabled(case is not None)
        self.open_button.setToolTip(plain(case or "All of them are verified by now"))

    def _most(self) -> str | None:
        found = () if self.found is None else self.found.cases
        cases = {case.id: case for case in self._session.cases()}
        waiting = (
            item.case
            for item in found
            if item.case in cases and not cases[item.case].human_verified
        )
        return next(waiting, None)

    def _ended(self) -> None:
        self._reading = False
        if self._stale:
            self.refresh()

    def _show(self, project: Project, found: ModelChanges | None) -> None:
        if project is not self._session.project or self._stale:
            return
        self.found = found
        self.setVisible(found is not None)
        if found is None:
            return
        self.note.setText(f"against {found.before}")
        self.value.setText(f"{len(found.notable)} of {len(found.cases)}")
        self.unit.setText("scans changed notably")
        tip = (
            f"Scans that nobody has verified. The two masks of these agree by a Dice "
            f"below {NOTABLE:g}."
        )
        self.unit.setToolTip(tip)
        self.classes.setText(_described(found, project.labels))
        self.quality.setText(_quality(found))
        self.show_button()


def _compare(project: Project) -> ModelChanges | None:
    try:
        return compare_models(project)
    except ProjectError:  # there are no two models yet
        return None


def _described(found: ModelChanges, scheme: LabelScheme) -> str:
    """Dice of the two models and mean volumes, a structure a line, as rich text."""
    colours = {item.name: item.colour for item in scheme}
    mean = found.mean
    names = sorted(mean, key=lambda name: _dice(mean[name]))
    lines = [
        f'<span style="color:{colours[name]}">⬤</span> {escape(name)}: '
        f"{_words(mean[name])}"
        for name in names[:SHOWN_CLASSES]
    ]
    more = len(names) - SHOWN_CLASSES
    return "<br>".join([*lines, *([f"and {more} that changed less"] * (more > 0))])


def _dice(change: ClassChange) -> float:
    return 1.0 if change.dice is None else change.dice


def _words(change: ClassChange) -> str:
    if change.dice is None:
        return "found by neither"
    return (
        f"Dice {change.dice:.2f} between the two, "
        f"{millilitres(change.before_ml)} → {millilitres(change.after_ml)} mL a scan"
    )


def _quality(found: ModelChanges) -> str:
    if found.quality is None:
        return "Estimated Dice: not known yet, it rests on your corrections"
    before, after = found.quality
    return f"Estimated Dice: {before:.2f} → {after:.2f}"
