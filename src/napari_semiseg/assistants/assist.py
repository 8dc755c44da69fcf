"""Propose a structure of a case from what a person has marked, into its mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.assistants.prompts import whole_box
from napari_semiseg.assistants.propose import propose
from napari_semiseg.assistants.registry import DEFAULT
from napari_semiseg.core.cancellation import NEVER
from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED
from napari_semiseg.errors import ConfigError
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.imaging.morphology import replace_class
from napari_semiseg.project.cases.history import Mark, Prompted
from napari_semiseg.project.cases.versions import MaskVersions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Prompt
    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.project.cases.case import CaseRef
    from napari_semiseg.project.project import Project


def propose_into(
    mask: NDArray[np.uint8],
    encoding: MaskEncoding,
    value: int,
    image: NDArray[Any],
    spacing_mm: Sequence[float],
    prompts: Sequence[Prompt],
    *,
    locked: Collection[int] = (),
    assistant: str = DEFAULT,
    cancellation: CancellationToken = NEVER,
) -> NDArray[np.uint8]:
    """Propose a structure in a mask that is edited.

    Parameters
    ----------
    mask : ndarray (Z, Y, X), uint8
        As ``encoding`` writes it. What was proposed of the structure is replaced; what
        a person has annotated stays.
    encoding : MaskEncoding
        Of the project's classes.
    value : int
        The class of the structure.
    image, spacing_mm, prompts, assistant, cancellation
        As `propose`, but that boxes may be rectangles, see `whole_box`.
    locked : collection of int
        Classes whose voxels stay.

    Returns
    -------
    ndarray (Z, Y, X), uint8
        The answer as proposals. Strokes are annotated: those on the structure with its
        class, those on background where the project has no other class that it could
        be.

    Raises
    ------
    ConfigError
        The structure is locked; else as `propose`.
    """
    if value in locked:
        raise ConfigError("This structure is locked: unlock it to change it.")
    before = encoding.confirm(mask)
    inside = propose(
        image,
        spacing_mm,
        whole_box(prompts, spacing_mm, mask.shape),
        before == value,
        assistant=assistant,
        cancellation=cancellation,
    )
    classes = replace_class(before, value, inside, locked)
    result = encoding.renew(mask, classes, locked)
    alone = len(encoding.values) == 1
    for prompt in prompts:
        if prompt.kind == "scribble" and (prompt.foreground or alone):
            at = tuple(prompt.voxels.T)
            new = np.uint8(value if prompt.foreground else BACKGROUND)
            result[at] = np.where(np.isin(before[at], list(locked)), result[at], new)
    return result


def assist(
    project: Project,
    case: CaseRef,
    prompts: Sequence[Prompt],
    value: int | None = None,
    *,
    assistant: str = DEFAULT,
    channel: int = 0,
    locked: Collection[int] = (),
    cancellation: CancellationToken = NEVER,
) -> NDArray[np.uint8]:
    """Propose a structure of a case from what is marked in it, and store the draft.

    Parameters
    ----------
    project : Project
        The project.
    case : Case or str
        The case, or its id.
    prompts : sequence of Prompt
        At least one of them on the structure; the history of the case keeps them.
    value : int, optional
        The class of the structure; the first one by default.
    channel : int
        Which image, where the case has several.
    assistant, locked, cancellation
        As `propose_into`, and so are the errors.

    Returns
    -------
    ndarray (Z, Y, X), uint8
        The draft as it is now, see `MaskEncoding`: that of before, or the label, or the
        newest prediction, with the structure proposed anew.

    Raises
    ------
    Conflict
        Another program has changed label or draft meanwhile.
    """
    case = project.case(case)
    if not 0 <= channel < len(case.channels):
        raise ConfigError(
            f"case '{case.id}': expected a channel from 0 to {len(case.channels) - 1}, "
            f"found {channel}"
        )
    versions, encoding = MaskVersions.of(case.folder), MaskEncoding(case.scheme)
    value = case.scheme.values[0] if value is None else value
    mask = case.read_draft() if case.has_draft else case.read_label()
    run = project.prediction_run(case)
    if mask is None and run is not None:
        mask = encoding.propose(run.read_mask(case, case.geometry)[1])
    if mask is None:
        mask = np.full(case.geometry.shape_zyx, UNANNOTATED, np.uint8)
    result = propose_into(
        mask,
        encoding,
        value,
        case.read_image(channel).data,
        case.geometry.spacing_mm,
        prompts,
        locked=locked,
        assistant=assistant,
        cancellation=cancellation,
    )
    project.save_draft(case, result, expected=versions)
    project.note(case, history_entry(prompts, value, assistant))
    return result


def history_entry(prompts: Sequence[Prompt], value: int, assistant: str) -> Prompted:
    """Make the entry of a case's history that keeps prompts."""
    marks = [
        Mark(
            kind=one.kind,
            foreground=one.foreground,
            voxels=tuple(one.voxels.ravel().tolist()),
        )
        for one in prompts
    ]
    return Prompted(value=value, assistant=assistant, marks=tuple(marks))
