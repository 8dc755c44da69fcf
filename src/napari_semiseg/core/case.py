"""States and splits of the volumes of a cohort."""

from __future__ import annotations

from enum import StrEnum


class CaseState(StrEnum):
    """Derived from the files of a case; never stored."""

    UNLABELLED = "unlabelled"
    PROPOSED = "proposed"
    DRAFT = "draft"
    PARTIAL = "partial"
    LABELLED = "labelled"
    EXCLUDED = "excluded"


class Split(StrEnum):
    """What a case may be used for. Only ``train`` cases are seen by training."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
