"""Open a project folder: the one place where cases are read and written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import NDArray

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import Conflict, ProjectError, SemisegError
from napari_semiseg.io.atomic import folder_lock
from napari_semiseg.io.masks import checked_labels, write_labels
from napari_semiseg.project.cases.case import Case, CaseRef, derive_state, id_of
from napari_semiseg.project.cases.channels import Channel
from napari_semiseg.project.cases.history import (
    Accepted,
    Excluded,
    HistoryEntry,
    Included,
    LabelDetails,
    Labelled,
    Relocated,
    Replaced,
    SplitChanged,
    user_name,
)
from napari_semiseg.project.cases.labels import check_mask, replace_label
from napari_semiseg.project.cases.records import Records
from napari_semiseg.project.cases.references import resolve
from napari_semiseg.project.cases.versions import (
    DRAFT,
    MaskVersions,
    forget_oldest,
    keep,
    new_name,
)
from napari_semiseg.project.discovery import add_images, find_images, relocate
from napari_semiseg.project.discovery.add_images import AddReport
from napari_semiseg.project.layout import Layout, is_id
from napari_semiseg.project.runs.comparison import compare, compare_stored
from napari_semiseg.project.runs.run import Run, RunList
from napari_semiseg.project.settings import (
    Settings,
    mapped,
    read_settings,
    recolour,
    write_settings,
)

if TYPE_CHECKING:
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases.record import CaseRecord, ChannelRecord


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Files written, why cases were left out, and what the user should know."""

    written: list[Path] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Project:
    """A folder of cases, human labels and runs. Use `create` or `open`.

    Attributes
    ----------
    folder : Path
        Absolute path of the project.
    name : str
        For people.
    labels : LabelScheme
        The classes to segment.
    layout : Layout
        Every path in the folder.
    settings : Settings
        Contents of ``project.toml`` when it was opened.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.name = settings.name
        self.labels = settings.scheme
        self.settings = settings
        self.layout = Layout(folder)
        self._records = Records(self.layout)
        self._runs = RunList(self.layout)

    def __repr__(self) -> str:
        return f"Project({str(self.folder)!r})"

    @classmethod
    def create(
        cls,
        folder: str | Path,
        labels: LabelScheme | dict[str, int] | Iterable[str],
        name: str | None = None,
    ) -> Self:
        """Make a new, empty project.

        Parameters
        ----------
        folder : path
            Is made where it is absent.
        labels : LabelScheme, dict or iterable of str
            Classes as ``{"left atrium": 1}`` or ``["1=left atrium"]``.
        name : str, optional
            The folder's name by default.

        Raises
        ------
        ProjectError
            There is a project already, or the folder cannot be written.
        ConfigError
            The labels are not valid.
        """
        root = Path(folder).expanduser().resolve()
        if isinstance(labels, dict):
            labels = [f"{value}={label}" for label, value in labels.items()]
        if not isinstance(labels, LabelScheme):
            labels = LabelScheme.parse(labels)
        target = Layout(root).project_file
        if target.exists():
            raise ProjectError(
                f"{root}: expected a new folder, found a project; open it, or choose "
                "another folder"
            )
        settings = Settings(name=name or root.name, labels=labels.classes)
        write_settings(target, settings)
        return cls(root, settings)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a project.

        Raises
        ------
        ProjectError
            The folder is no project, or its settings are wrong.
        """
        root = Path(folder).expanduser().resolve()
        Layout(root).check()
        return cls(root, read_settings(Layout(root).project_file))

    def recolour(self, palette: str) -> None:
        """Give the classes the colours of a palette, `core.palettes.PALETTES`.

        Raises
        ------
        ConfigError
            There is no such palette.
        """
        self.labels = self.labels.recoloured(palette)
        recolour(self.layout.project_file, palette)

    # -- cases: reading ------------------------------------------------------------

    def cases(
        self,
        state: CaseState | str | Collection[CaseState | str] | None = None,
        split: Split | str | None = None,
        *,
        problems: dict[str, str] | None = None,
    ) -> list[Case]:
        """Cases sorted by id, of given states and a given split only if asked.

        Parameters
        ----------
        state, split
            What to take; everything by default.
        problems : dict of str to str, optional
            Takes up what is wrong with folders that cannot be read as cases, by their
            names; those are left out.

        Raises
        ------
        SemisegError
            A case cannot be read, and there are no ``problems``.
        """
        states = {state} if isinstance(state, str) else state
        predicted = self.prediction_runs()
        found = []
        for name in self._records.ids():
            try:
                case = self._case(name, name in predicted)
            except FileNotFoundError:  # deleted meanwhile
                continue
            except (SemisegError, OSError) as error:
                if problems is None:
                    raise
                problems[name] = str(error)
                continue
            if (states is None or case.state in states) and (
                split is None or case.split == split
            ):
                found.append(case)
        return found

    def case_ids(self, part: slice = slice(None)) -> list[str]:
        """Ids of all cases, or of a part of them, sorted; none of them is read."""
        return self._records.ids(part)

    def case(self, case: CaseRef) -> Case:
        """One case, as its files are now.

        Raises
        ------
        ProjectError
            There is none of this id; names the closest ones.
        """
        case_id = id_of(case)
        try:
            if is_id(case_id) and self.layout.case(case_id).json.exists():
                return self._case(case_id, self.prediction_run(case_id) is not None)
        except FileNotFoundError:  # deleted meanwhile
            pass
        raise self._records.unknown(case_id)

    def _case(self, case_id: str, has_prediction: bool) -> Case:
        folder = self.layout.case(case_id)
        record = self._records.read(case_id)
        fraction = self._records.annotated_fraction(record)
        has_draft = folder.draft.exists()
        return Case(
            folder=folder,
            record=record,
            state=derive_state(
                excluded=record.excluded,
                fraction=fraction,
                has_draft=has_draft,
                has_prediction=has_prediction,
            ),
            channels=tuple(
                Channel(one.name, self._image(one), one.volume)
                for one in record.channels
            ),
            annotated_fraction=fraction or 0.0,
            has_label=fraction is not None,
            has_draft=has_draft,
            scheme=self.labels,
        )

    def _image(self, channel: ChannelRecord) -> Path:
        """Path of an image on this computer."""
        return resolve(mapped(channel.image, self.settings.own_roots), self.folder)

    @property
    def channels(self) -> tuple[str, ...] | None:
        """Names of the images of a case; None without cases."""
        known = self._records.ids()
        return self._records.read(known[0]).channel_names if known else None

    # -- cases: writing ------------------------------------------------------------

    def add(
        self,
        *paths: str | Path,
        split: Split | str = Split.TRAIN,
        cases: Collection[str] | None = None,
        series: Collection[str] = (),
        channels: Collection[str] = (),
        dry_run: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> AddReport:
        """Add images as cases, by reference; nothing is copied or changed.

        Parameters
        ----------
        *paths : path
            Files, folders, wildcards, or data sets of nnU-Net, the Decathlon or BIDS.
        split : Split
            What new cases may be used for; the test part of a data set stays test.
        cases : collection of str, optional
            Ids to take from what is found; all by default.
        series, channels
            What to take where there are several; see `find_images.collect`.
        dry_run : bool
            Only report what would be added.
        progress : callable
            Called with the number of images found by now, and 0; then with the number
            of new cases that are looked through, and of all of them.

        Returns
        -------
        AddReport
            An image of the project that has changed and is named itself counts as
            added: its case has it as it is now.

        Raises
        ------
        SemisegError
            A path is missing or holds no image, an image named itself cannot be used,
            or two images have the same name. Nothing is added then.
        """
        known = {
            name: self._image(self._records.read(name).channels[0])
            for name in self._records.ids()
        }
        own = {self.layout.cases, self.layout.runs}
        found, left = find_images.collect(paths, series, channels, progress)
        images = [item for item in found if own.isdisjoint(item.image.parents)]
        new, skipped = add_images.name_cases(images, known, cases)
        describe = partial(
            add_images.describe_image, project=self.folder, split=Split(split)
        )
        records, report = add_images.check_images(
            new,
            left | skipped,
            self.channels,
            None if dry_run else describe,
            progress,
        )
        for record in records:
            self._records.write(record)
        # One that has changed and is named itself is meant as it is now.
        named = {item.image for item in images if item.named}
        for case in [self.case(name) for name in known if known[name] in named]:
            if "has changed" in case.image_problem:
                entry, changes = add_images.take_changed(case)
                if not dry_run:
                    self.note(case, entry, **changes)
                report.take(case, entry)
        return report

    def set_label(
        self,
        case: CaseRef,
        mask: str | Path | NDArray[Any],
        *,
        by: str | None = None,
        minutes: float | None = None,
        details: LabelDetails | None = None,
        prediction: Prediction | None = None,
        expected: MaskVersions | None = None,
        edits: str | None = None,
    ) -> Labelled:
        """Accept a human label; the one before is kept in ``previous``.

        The draft of the case, if any, is kept there too, and is a draft no longer.

        Parameters
        ----------
        mask : path or ndarray (Z, Y, X)
            Mask on the case's grid: values of the labels, 0 for background, 255 where
            not annotated.
        by : str, optional
            Who accepts it; the user of this computer by default.
        minutes : float, optional
            Time spent on it.
        details : LabelDetails, optional
            Further values for the history.
        prediction : Prediction, optional
            What was corrected, for the history; the newest one stored by default.
        expected : MaskVersions, optional
            Label and draft as the caller knows them. Another label is refused then,
            and another draft, which is somebody else's, stays a draft.
        edits : str, optional
            Kept mask of `keep_edits` that the label was made from.

        Returns
        -------
        Labelled
            The entry of the history; ``replaced`` says what was kept.

        Raises
        ------
        Conflict
            The label is not the expected one.
        ImageError, ProjectError
            Other grid, unknown value, nothing annotated, or unknown case. Nothing is
            changed then.
        """
        case = self.case(case)
        labels = check_mask(mask, case, self.labels)
        if prediction is None:
            run = self.prediction_run(case)
            compared = compare_stored(run, case, labels, self.labels)
        else:
            compared = compare(
                prediction.record, prediction.labels, labels, self.labels
            )
        with self.changing(case) as now:
            folder, found = now.folder, MaskVersions.of(now.folder)
            if expected is not None and found.label != expected.label:
                raise _conflict(now, "label")
            draft, label = edits, keep(folder, folder.label)
            own = expected is None or found.draft == expected.draft
            if own and found.draft is not None:
                draft = keep(folder, folder.draft)
            replaced = Replaced(label=label, draft=draft)
            written = replace_label(now, labels)
            facts = {**dict(compared), **(details or {}), **dict(written)}
            entry = Labelled(
                by=by or user_name(), minutes=minutes, replaced=replaced, **facts
            )
            self.note(now, entry)
            if own:
                folder.draft.unlink(missing_ok=True)
            forget_oldest(folder)
        return entry

    def save_draft(
        self,
        case: CaseRef,
        labels: NDArray[Any],
        *,
        expected: MaskVersions | None = None,
        keeping: bool = True,
    ) -> MaskVersions:
        """Store edits (Z, Y, X) that are not accepted yet.

        Parameters
        ----------
        labels : ndarray (Z, Y, X)
            Whole numbers from 0 to 255.
        expected : MaskVersions, optional
            Label and draft as the caller knows them; others are refused.
        keeping : bool
            Keep a draft that is there already; without, it is the caller's own.

        Returns
        -------
        MaskVersions
            Label and draft now.

        Raises
        ------
        Conflict
            Label or draft are not the expected ones. Nothing is changed then.
        """
        with self.changing(case) as now:
            checked = checked_labels(labels, now.geometry, f"draft of '{now.id}'")
            folder, found = now.folder, MaskVersions.of(now.folder)
            if expected not in (None, found):
                raise _conflict(now, "label and draft")
            if keeping:
                keep(folder, folder.draft)
            write_labels(folder.draft, checked, now.geometry, now.image)
            forget_oldest(folder)
            return MaskVersions.of(folder)

    def keep_edits(
        self, case: CaseRef, labels: NDArray[Any], name: str | None = None
    ) -> str:
        """Keep edits (Z, Y, X) beside the draft of a case, which is somebody else's.

        Returns
        -------
        str
            Name in ``previous``; given as ``name``, it is written over.
        """
        with self.changing(case) as now:
            checked = checked_labels(labels, now.geometry, f"draft of '{now.id}'")
            name = name or new_name(now.folder, DRAFT)
            path = now.folder.previous / name
            write_labels(path, checked, now.geometry, now.image)
            forget_oldest(now.folder)
            return name

    def discard_draft(
        self, case: CaseRef, *, expected: MaskVersions | None = None
    ) -> str | None:
        """Take the draft of a case away.

        Returns
        -------
        str or None
            Name in ``previous`` under which it is kept; None where there was none.

        Raises
        ------
        Conflict
            The draft is not the expected one. Nothing is changed then.
        """
        with self.changing(case) as now:
            folder = now.folder
            if expected and MaskVersions.of(folder).draft != expected.draft:
                raise _conflict(now, "draft")
            name = keep(folder, folder.draft)
            folder.draft.unlink(missing_ok=True)
            forget_oldest(folder)
            return name

    def set_excluded(self, case: CaseRef, excluded: bool) -> None:
        """Take a case out of training, prediction and scores, or back in."""
        with self.changing(case) as now:
            if now.record.excluded != excluded:
                entry = Excluded() if excluded else Included()
                self.note(now, entry, excluded=excluded)

    def set_split(self, case: CaseRef, split: Split | str) -> None:
        """Change what a case may be used for."""
        chosen = Split(split)
        with self.changing(case) as now:
            if now.split != chosen:
                self.note(now, SplitChanged(split=chosen), split=chosen)

    def relocate(self, folder: str | Path) -> AddReport:
        """Point cases whose image has moved to the same image in another folder.

        Returns
        -------
        AddReport
            ``added``: ids found again; ``skipped``: why others were not.
        """
        found, skipped = relocate.find_moved(self.cases(), folder)
        for name, images in found.items():
            channels = relocate.moved_channels(
                self._records.read(name).channels, images, self.folder
            )
            self.note(name, Relocated(image=channels[0].image), channels=channels)
        return AddReport(added=sorted(found), skipped=skipped)

    def check_images(self) -> dict[str, str]:
        """Say what is wrong with images: missing, or changed since they were added.

        A file whose size and time of change are as before is not read again.
        """
        problems = {case.id: case.image_problem for case in self.cases()}
        return {name: problem for name, problem in problems.items() if problem}

    def export(self, out: str | Path, **options: Any) -> ExportReport:
        """Write masks with volumes and provenance; see `napari_semiseg.export`."""
        # Exporting builds on this module: its name is looked up on use only.
        report: ExportReport = import_module("napari_semiseg").export(
            self, out, **options
        )
        return report

    @contextmanager
    def changing(self, case: CaseRef) -> Iterator[Case]:
        """Keep other programs from changing a case meanwhile.

        Yields
        ------
        Case
            As it is now: what is decided by it holds until the block ends.
        """
        with folder_lock(self.layout.case(id_of(case)).path):
            yield self.case(case)

    def note(self, case: CaseRef, entry: HistoryEntry, **changes: Any) -> None:
        """Add an entry to the history of a case; ``changes`` go into its record."""
        with folder_lock(self.layout.case(id_of(case)).path):
            record = self._records.known(id_of(case))
            self._write(record, (*record.history, entry), **changes)

    def amend(self, case: CaseRef, entry: HistoryEntry, **facts: Any) -> None:
        """Add facts to an entry in the history of a case.

        Raises
        ------
        ProjectError
            The history holds no such entry.
        """
        with folder_lock(self.layout.case(id_of(case)).path):
            record = self._records.known(id_of(case))
            if entry not in record.history:
                raise ProjectError(
                    f"expected an entry of {entry.action!r} in the history of "
                    f"'{record.id}', found none; another program has changed its record"
                )
            at = record.history.index(entry)
            amended = entry.model_copy(update=facts)
            self._write(
                record, (*record.history[:at], amended, *record.history[at + 1 :])
            )

    def _write(
        self, record: CaseRecord, history: tuple[HistoryEntry, ...], **changes: Any
    ) -> None:
        update = {"history": history, **changes}
        self._records.write(record.model_copy(update=update))

    # -- runs ------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        return self._runs.all()

    def run(self, run_id: str) -> Run:
        """One run.

        Raises
        ------
        ProjectError
            There is none of this id; names those there are.
        """
        return self._runs.get(run_id)

    def latest_run(self, finished: bool = False) -> Run | None:
        """Newest training; with ``finished``, the newest that ended with a model."""
        return self._runs.latest(finished)

    def prediction_runs(self) -> dict[str, Run]:
        """Newest run that holds a prediction, by the id of the case.

        One look at all runs, where `prediction_run` looks at them for each case.
        """
        return self._runs.newest_predictions()

    def prediction_run(self, case: CaseRef) -> Run | None:
        """Newest run that holds a prediction of the case."""
        return self._runs.predicting(case)


def _conflict(case: Case, what: str) -> Conflict:
    """Error that another program has changed masks of a case; says which and who."""
    last = case.record.last(Labelled, Accepted)
    by = "" if last is None else f", last accepted by {last.by}"
    return Conflict(
        f"case '{case.id}': expected {what} as when it was opened, found that another "
        f"window or program has changed them since{by}; look at theirs before you "
        "replace it"
    )
