"""Say in one sentence what a training will learn from, and what follows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import count, listed
from napari_semiseg.widgets.common.session import HUMAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_semiseg.project.cases.case import Case


def what_is_learnt(
    cases: Iterable[Case],
    structures: Sequence[str],
    source: str | None,
    *,
    unlabelled: bool = True,
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
    unlabelled : bool
        Whether the method learns from scans without a label.

    Returns
    -------
    str
        Rich text.
    """
    used = [case for case in cases if case.state is not CaseState.EXCLUDED]
    train = [case.state for case in used if case.split is Split.TRAIN]
    free = sum(state not in HUMAN for state in train) if unlabelled else 0
    counts = {
        "labelled": train.count(CaseState.LABELLED),
        "partly labelled": train.count(CaseState.PARTIAL),
        "unlabelled": free,
    }
    parts = [f"<b>{n} {words}</b>" for words, n in counts.items() if n]
    if not parts:
        return "No scan is used for training yet."
    last = parts.pop()
    scans = f"{', '.join(parts)} and {last}" if parts else last
    noun = "scan" if sum(counts.values()) == 1 else "scans"
    begin = f", going on from <b>{escape(source)}</b>" if source else ""
    left = sum(not case.has_label for case in used)
    then = f"; then propose masks for <b>{count(left, 'scan')}</b>" if left else ""
    what = f"<b>{escape(listed(structures, 3))}</b>"
    return f"Learn the {what} from {scans} {noun}{begin}{then}."


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


def kind_of_scan(case: Case | None) -> str:
    """Say what a training has to do with a scan: nothing, a check, or its label."""
    if case is None or not case.has_label:
        return "A scan without a label"
    if case.split is Split.TRAIN:
        return "A scan it learns from"
    return "A scan that only checks it"
