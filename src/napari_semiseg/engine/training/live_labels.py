"""The cases of a training on the working grid, and what a user changes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.events import Learned, Staged, Warned
from napari_semiseg.engine.data.label_schedule import LabelVersion
from napari_semiseg.engine.data.sampler import Streams
from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.project.runs.predictions import proposed_mask

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Container,
        Generator,
        Iterable,
        Iterator,
        Sequence,
    )
    from pathlib import Path

    from napari_semiseg.core.events import Event
    from napari_semiseg.engine.data.cache import Cache, Prepared, PreparedCohort
    from napari_semiseg.engine.data.label_schedule import Schedule
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

LOOK_SHARE = 0.02
"""Part of the time, at most, that goes into looking for changed labels."""


class LiveLabels:
    """Prepares the cohort, and then the labels that change.

    Cases that are added to the project while a training runs are taken in when they
    have a label, or else when the run is resumed.

    Parameters
    ----------
    project : Project
        Whose cases they are.
    cohort : PreparedCohort
        The cases to begin with, and the watch over them.
    cache : Cache
        Prepares a case.
    unlabelled : bool
        Whether the method learns from unlabelled images.
    untrusted : bool
        Whether masks that another program proposed are learned from too.
    look_seconds : float
        Shortest time between two looks, s; on a slow network share they are rarer,
        so that looking takes a fiftieth of the time at most.

    Attributes
    ----------
    cases : dict of str to Prepared
        The newest readable version of each case, by id.
    validation : list of Prepared
        Cases that only score.
    """

    def __init__(
        self,
        project: Project,
        cohort: PreparedCohort,
        cache: Cache,
        *,
        unlabelled: bool,
        untrusted: bool,
        look_seconds: float,
    ) -> None:
        self._project = project
        self._cohort = cohort
        self._cache = cache
        self._unlabelled = unlabelled
        self._untrusted = untrusted
        self._look_seconds = look_seconds
        self._next = 0.0
        self._unreadable: set[str] = set()
        self.cases: dict[str, Prepared] = {}
        self.validation: list[Prepared] = []

    def prepare(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """Bring what has a label onto the working grid; a broken image is left out.

        Raises
        ------
        ProjectError
            No labelled case could be read.
        """
        cases = [*self._cohort.labelled, *self._cohort.validation]
        yield from self._bring("Preparing labelled cases", cases, stop)
        if not self.labelled and not stop():
            raise ProjectError("no labelled case could be read; see the warnings")
        found = {case: self._proposal(case) for case in self._cohort.without_annotation}
        proposals = {case: mask for case, mask in found.items() if mask is not None}
        yield from self._bring("Preparing proposed masks", proposals, stop)

    def prepare_unlabelled(
        self, stop: Callable[[], bool], among: Container[str] | None = None
    ) -> Iterator[Event]:
        """Bring what has no label onto the working grid, as `prepare` does the rest.

        Of the cases ``among`` these ids, or all.
        """
        cases = self._cohort.without_annotation if self._unlabelled else ()
        todo = [
            case
            for case in cases
            if case.id not in self.cases and (among is None or case.id in among)
        ]
        yield from self._bring("Preparing unlabelled cases", todo, stop)

    def _bring(
        self,
        stage: str,
        todo: Sequence[Case] | Mapping[Case, Path],
        stop: Callable[[], bool],
    ) -> Iterator[Event]:
        """Prepare cases, with a proposal where one is given."""
        proposals = todo if isinstance(todo, Mapping) else {}
        for done, case in enumerate(todo, start=1):
            if stop():
                return
            try:
                ready = self._cache.prepare(
                    case,
                    with_label=case.human_verified,
                    proposal=proposals.get(case),
                )
                if case.split is Split.VALIDATION:
                    self.validation.append(ready)
                else:
                    self.cases[case.id] = ready
            except SemisegError as error:
                yield Warned(message=f"case {case.id} is left out: {error}")
            yield Staged(stage=stage, done=done, total=len(todo))

    def adopt(
        self,
        versions: Mapping[str, LabelVersion | None],
        validation: Mapping[str, str] | None = None,
    ) -> None:
        """Take the cases that another process has prepared.

        Parameters
        ----------
        versions : mapping
            Label of each case to learn from; None for one that is out.
        validation : mapping, optional
            SHA-256 of the label of each case that only scores.
        """
        for name, version in versions.items():
            if version is None:
                self.cases.pop(name, None)
            else:
                case = self._project.case(name)
                self.cases[name] = self._cache.read(
                    case, version.sha256, proposed=version.proposed
                )
        self.validation += [
            self._cache.read(self._project.case(name), sha256)
            for name, sha256 in (validation or {}).items()
        ]

    @property
    def labelled(self) -> list[Prepared]:
        """Cases with a label, by id."""
        return [case for case in self._masked if not case.proposed]

    @property
    def untrusted(self) -> list[Prepared]:
        """Cases with a mask that another program proposed, by id."""
        return [case for case in self._masked if case.proposed]

    @property
    def _masked(self) -> list[Prepared]:
        return [case for _, case in sorted(self.cases.items()) if case.version]

    @property
    def versions(self) -> dict[str, LabelVersion]:
        """Newest readable label of each case."""
        return {
            name: LabelVersion(case.version, case.whole, case.proposed)
            for name, case in self.cases.items()
        }

    def streams(self, schedule: Schedule) -> Streams:
        """Give what to draw from, once the newest labels are in force."""
        rest = (
            case
            for _, case in sorted(self.cases.items())
            if case.proposed or not case.whole
        )
        return Streams(
            tuple(self.labelled),
            tuple(rest) if self._unlabelled else (),
            tuple(self.untrusted),
            schedule.since,
            schedule.new_since,
        )

    def check(self) -> Generator[Warned, None, bool]:
        """Read what was changed since the last look, unless that was just now.

        Returns whether there was anything.

        A label that cannot be read is tried once more at the next look, since another
        program may be writing it; the version before stays in force meanwhile.
        """
        began = time.perf_counter()
        if began < self._next:
            return False
        changed = self._cohort.watch.changed()
        took = time.perf_counter() - began
        failed: dict[str, Exception] = {}
        self._renew(changed, failed)
        if changed:  # a case's record is written a moment after its label
            self._renew(self._cohort.watch.changed(), failed)
        for name, error in failed.items():
            if name in self._unreadable:
                yield Warned(
                    message=f"the new label of {name} is not learnt from: {error}"
                )
            else:
                self._cohort.watch.report_again(name)
        self._unreadable ^= failed.keys()
        pause = max(self._look_seconds, took / LOOK_SHARE)
        self._next = time.perf_counter() + pause
        return bool(changed)

    def update(self, schedule: Schedule, step: int) -> Learned | None:
        """Put what was read in force from ``step`` on; None when nothing changed.

        The last label cannot go: it is learnt from until there is another one.
        """
        versions = self.versions
        if not self.labelled:
            return None
        new, lost = schedule.new_labels(versions), schedule.lost_labels(versions)
        if schedule.update(step, versions) is None:
            return None
        streams = self.streams(schedule)
        return Learned(
            step=step,
            cases=tuple(new),
            dropped=tuple(lost),
            labelled=len(streams.labelled),
            unlabelled=len(streams.unlabelled),
        )

    def _renew(self, names: Iterable[str], failed: dict[str, Exception]) -> None:
        for name in names:
            try:
                ready = self._read(name)
            except (SemisegError, OSError) as error:
                failed[name] = error
                continue
            failed.pop(name, None)
            self._unreadable.discard(name)
            if ready is None:
                self.cases.pop(name, None)
            else:
                self.cases[name] = ready

    def _read(self, name: str) -> Prepared | None:
        case = self._usable(name)
        if case is None:
            return None
        labelled, proposal = case.human_verified, self._proposal(case)
        unlabelled = self._unlabelled and name in self.cases
        if not labelled and proposal is None and not unlabelled:
            return None
        return self._cache.prepare(case, with_label=labelled, proposal=proposal)

    def _proposal(self, case: Case) -> Path | None:
        return proposed_mask(self._project, case) if self._untrusted else None

    def _usable(self, name: str) -> Case | None:
        if not self._project.layout.case(name).json.exists():
            return None
        case = self._project.case(name)
        usable = case.split is Split.TRAIN and case.state is not CaseState.EXCLUDED
        return case if usable else None
