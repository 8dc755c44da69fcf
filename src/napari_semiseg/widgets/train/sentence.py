"""Say in one sentence what a training will learn from, and what follows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import count, listed
from napari_semiseg.widgets.common.session import HUMAN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from napari_semiseg.project.cases.case import Case

ENOUGH, ASIDE = 10, 3
"""From so many labels on, so many of them are kept aside to check a training."""


def what_is_learnt(
    cases: Iterable[Case],
    structures: Sequence[str],
    source: str | None,
    *,
    unlabelled_after: str | None = "",
    aside: Collection[str] = (),
) -> str:
    """Say what a training learns, from how many scans, and what it does then.

    Parameters
    ----------
    cases : iterable of Case
        All of the project.
    structures : sequence of str
        Names of the classes.
    source : str or None
        Id of the run that it begins with.
    unlabelled_after : str or None
        When, and if need be on what condition, scans without a label begin to take
        part; empty for at once, None for never.
    aside : collection of str
        Ids of cases whose label will only check it.

    Returns
    -------
    str
        Rich text.
    """
    used = [case for case in cases if case.state is not CaseState.EXCLUDED]
    train = [
        case.state
        for case in used
        if case.split is Split.TRAIN and case.id not in aside
    ]
    unlabelled = sum(state not in HUMAN for state in train)
    unlabelled = 0 if unlabelled_after is None else unlabelled
    counts = {
        "labelled": train.count(CaseState.LABELLED),
        "partly labelled": train.count(CaseState.PARTIAL),
        "unlabelled": unlabelled,
    }
    parts = [f"<b>{n} {words}</b>" for words, n in counts.items() if n]
    if not parts:
        return "No scan is used for training yet."
    last = parts.pop()
    scans = f"{', '.join(parts)} and {last}" if parts else last
    noun = "scan" if sum(counts.values()) == 1 else "scans"
    late = (
        f", the latter after {unlabelled_after}"
        if unlabelled and unlabelled_after
        else ""
    )
    begin = f", going on from <b>{escape(source)}</b>" if source else ""
    left = sum(not case.has_label for case in used)
    then = f"; then propose masks for <b>{count(left, 'scan')}</b>" if left else ""
    what = f"<b>{escape(listed(structures, 3))}</b>"
    return f"Learn the {what} from {scans} {noun}{late}{begin}{then}."


def what_is_left_out(cases: Iterable[Case]) -> str:
    """Say which scans no training learns from; empty where it uses all."""
    used = [case for case in cases if case.state is not CaseState.EXCLUDED]
    tests = sum(case.split is Split.TEST for case in used)
    checks = sum(
        case.split is Split.VALIDATION and case.state in HUMAN for case in used
    )
    words = []
    if tests:
        verb = "is" if tests == 1 else "are"
        words.append(f"{count(tests, 'test scan')} {verb} never used")
    if checks:
        verb = "checks" if checks == 1 else "check"
        words.append(f"{count(checks, 'label')} only {verb} it")
    return " \u00b7 ".join(words)


def to_set_aside(cases: Iterable[Case]) -> list[str]:
    """Choose labels that shall only check a training: `ASIDE` of `ENOUGH` or more.

    None where some do already. They are spread evenly over the names, which tell most
    often where and when a scan was taken.
    """
    used = [case for case in cases if case.state is not CaseState.EXCLUDED]
    if any(case.split is Split.VALIDATION and case.state in HUMAN for case in used):
        return []
    whole = sorted(
        case.id
        for case in used
        if case.split is Split.TRAIN
        and case.state is CaseState.LABELLED
        and case.human_verified
    )
    if len(whole) < ENOUGH:
        return []
    return [whole[(2 * n + 1) * len(whole) // (2 * ASIDE)] for n in range(ASIDE)]


def kind_of_scan(case: Case | None) -> str:
    """Say what a training has to do with a scan: nothing, a check, or its label."""
    if case is None or not case.has_label:
        return "A scan without a label"
    if case.split is Split.TRAIN:
        return "A scan it learns from"
    return "A scan that only checks it"
