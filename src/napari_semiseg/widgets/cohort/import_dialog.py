"""Before images or masks are taken in: what goes with what, and what is unclear."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QTabWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_semiseg.core.case import Split
from napari_semiseg.core.text import count
from napari_semiseg.errors import SemisegError
from napari_semiseg.project.importing.preview import (
    ImportPreview,
    ImportRequest,
    preview_import,
    request_import,
)
from napari_semiseg.widgets.cohort.import_parts import (
    FileList,
    PairList,
    SeriesChoice,
    StructureChoice,
    row_of,
)
from napari_semiseg.widgets.common.background import in_background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.project.importing.preview import Pair
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

LOOKING = "Looking through the files \u2026"
SPLITS = (
    (Split.TRAIN, "Training"),
    (Split.VALIDATION, "Validation: scores during training"),
    (Split.TEST, "Test: never seen by training"),
)


_Found = ImportPreview | SemisegError | OSError


class IntakeDialog(QDialog):
    """Shows which mask goes with which image before anything is written.

    Files are looked through in the background; `import_pairs` does
    what was agreed to.

    Parameters
    ----------
    session : Session
        With a project open.
    paths : sequence of Path
        Images to add; none to attach masks only.
    masks : Path, optional
        Where masks are.

    Attributes
    ----------
    survey : ImportPreview or None
        What was found; None while files are looked through.
    """

    def __init__(
        self,
        session: Session,
        project: Project,
        paths: Sequence[Path] = (),
        masks: Path | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add images" if paths else "Attach masks")
        self.resize(860, 520)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        self._session, self._project, self._paths = session, project, tuple(paths)
        self._fresh = True
        self._asked = 0
        self._images: tuple[Path, ...] = self._paths
        self.survey: ImportPreview | None = None
        self.pairs = PairList()
        self.left = FileList(("File", "Why"), 1)
        self.left.setColumnWidth(0, 260)
        self.series = SeriesChoice()
        self.structures = StructureChoice(project.labels)
        self.masks = QLineEdit("" if masks is None else str(masks))
        self.masks.setPlaceholderText("none; masks can be attached later")
        self.channels = QLineEdit()
        self.channels.setPlaceholderText("one")
        self.channels.setToolTip(
            "Several images on one grid that belong to each case, by the ends of "
            "their file names:\nT1=_t1, FLAIR=_flair. Of a known data set: the names "
            "of the channels to take."
        )
        self.suggested = QPushButton()
        self.suggested.hide()
        self.split = QComboBox()
        for split, text in SPLITS:
            self.split.addItem(text, split)
        self.said = QLabel(LOOKING)
        self.said.setWordWrap(True)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.pairs, "Cases")
        self.tabs.addTab(self.left, "Left out")
        self._build()
        self.look()

    @property
    def intake(self) -> ImportRequest:
        """What is asked for now."""
        masks = self.masks.text().strip()
        channels = (text.strip() for text in self.channels.text().split(","))
        return ImportRequest(
            self._images,
            Path(masks).expanduser() if masks else None,
            self.series.chosen(),
            tuple(text for text in channels if text) or self.series.channels(),
            self.structures.value(),
            self.split.currentData(),
        )

    @property
    def chosen(self) -> list[Pair]:
        """Cases to take in."""
        return self.pairs.chosen()

    def look(self) -> None:
        """Look through the files, with what is asked for now."""
        self._asked += 1
        asked, intake, fresh = self._asked, self.intake, self._fresh
        self.survey = None
        self.said.setText(LOOKING)
        self._renew_button()

        def work() -> tuple[ImportRequest, _Found]:
            told = intake
            try:
                if fresh and intake.masks is None:
                    own = request_import(intake.paths)
                    told = replace(intake, paths=own.paths, masks=own.masks)
                return told, preview_import(self._project, told)
            except (SemisegError, OSError) as error:
                return told, error

        def done(
            answer: tuple[ImportRequest, _Found],
        ) -> None:
            if asked == self._asked:
                self._fresh = False
                self._show(*answer)

        in_background(
            self._session, "Looking through the files", work, done, quiet=True
        )

    def done(self, result: int) -> None:
        """Close; what is still looked for is of no interest any more."""
        self._asked += 1
        super().done(result)

    # -- building --------------------------------------------------------------------

    def _build(self) -> None:
        choose, none = QPushButton("Choose\u2026"), QPushButton("None")
        choose.clicked.connect(self._choose_masks)
        none.clicked.connect(self._drop_masks)
        self.suggested.clicked.connect(self._use_suggested)
        form = QFormLayout()
        form.addRow("Masks in", row_of(self.masks, choose, none))
        if self._paths:
            form.addRow("Images per case", row_of(self.channels, self.suggested))
            form.addRow("Use for", self.split)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.agree = self.buttons.addButton(
            "Add", QDialogButtonBox.ButtonRole.AcceptRole
        )
        self.agree.setDefault(True)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.series)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.structures)
        layout.addWidget(self.said)
        layout.addWidget(self.buttons)
        self.masks.editingFinished.connect(self._look_if_changed)
        self.channels.editingFinished.connect(self._look_if_changed)
        self.series.changed.connect(self.look)
        self.pairs.changed.connect(self._renew_button)
        self.structures.changed.connect(self._renew_button)
        self._seen = self._texts()

    def _texts(self) -> tuple[str, str]:
        return self.masks.text(), self.channels.text()

    def _look_if_changed(self) -> None:
        if self._texts() != self._seen:
            self._seen = self._texts()
            self.look()

    def _choose_masks(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of masks")
        if chosen:
            self.masks.setText(chosen)
            self._look_if_changed()

    def _drop_masks(self) -> None:
        self.masks.clear()
        self._look_if_changed()

    def _use_suggested(self) -> None:
        self.channels.setText(", ".join(self.survey.endings if self.survey else ()))
        self._look_if_changed()

    # -- showing ---------------------------------------------------------------------

    def _show(self, intake: ImportRequest, found: _Found) -> None:
        self._images = intake.paths
        self.masks.setText("" if intake.masks is None else str(intake.masks))
        self._seen = self._texts()
        error = None if isinstance(found, ImportPreview) else str(found)
        self.survey = found if isinstance(found, ImportPreview) else ImportPreview()
        if error is None:  # else the choice that is wrong stays there to be mended
            self.series.show_folders(self.survey.folders)
        self.structures.show_structures(self.survey.structures)
        self.left.clear()
        for path, reason in self.survey.left.items():
            item = QTreeWidgetItem([Path(path).name, reason])
            item.setToolTip(0, path)
            item.setToolTip(1, reason)
            self.left.addTopLevelItem(item)
        self.tabs.setTabText(1, f"Left out ({len(self.survey.left)})")
        self.suggested.setVisible(bool(self.survey.endings))
        self.suggested.setText(f"Use {', '.join(self.survey.endings)}")
        self.said.setText(error or self._summary(self.survey))
        self.pairs.show_pairs(self.survey)

    def _summary(self, found: ImportPreview) -> str:
        parts = [f"{kind} data set" for kind in found.kinds]
        new = [pair for pair in found.pairs if not pair.known]
        masked = sum(pair.mask is not None for pair in found.pairs)
        if self._paths:
            parts.append(f"{count(len(new), 'new case')}")
        parts.append(f"{count(masked, 'mask')} paired by name")
        if found.endings:
            parts.append(f"names look like {len(found.endings)} images per case")
        if found.left:
            parts.append(f"{count(len(found.left), 'file')} left out")
        return ", ".join(parts) + "."

    def _renew_button(self) -> None:
        chosen = self.chosen if self.survey is not None else []
        new = sum(not pair.known for pair in chosen)
        masked = sum(pair.mask is not None for pair in chosen)
        self.tabs.setTabText(0, f"Cases ({self.pairs.topLevelItemCount()})")
        if new:
            text = f"Add {count(new, 'case')}"
            text += f", {masked} with masks" if masked else ""
        else:
            text = f"Attach {count(masked, 'mask')}" if masked else "Add"
        self.agree.setText(text)
        self.agree.setEnabled(bool(chosen))
