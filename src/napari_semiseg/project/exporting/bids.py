"""Write masks as a derivative data set of BIDS."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED
from napari_semiseg.io.atomic import write_json, write_text
from napari_semiseg.io.masks import write_labels
from napari_semiseg.project.discovery.dataset_layouts import bids_mask_of

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

NAME = "bids"
TITLE = "BIDS derivatives"
ENDING = ".nii.gz"
NOTE = ""
VERSION = "1.10.0"


def write_case(
    project: Project, case: Case, labels: NDArray[np.uint8], folder: Path
) -> Path:
    """Write a mask by the entities of its case, with what it was made from.

    A case without such a name becomes a subject of its own: letters and digits of its
    id, and a number where those of another case are the same.

    Returns
    -------
    Path
        The mask.
    """
    name = _entities(case.id) or _subject(case.id, project.case_ids())
    entities = dict(part.partition("-")[::2] for part in name.split("_"))
    parts = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    mask = folder.joinpath(*parts, "anat", f"{name}_dseg{ENDING}")
    write_labels(mask, labels, case.geometry, case.image)
    facts = {
        "Sources": [channel.image.name for channel in case.channels],
        "SpatialReference": "orig",
    }
    write_json(mask.with_name(f"{name}_dseg.json"), facts)
    return mask


def write_dataset(project: Project, folder: Path) -> list[Path]:
    """Describe the data set: who made it, and what the values mean."""
    table = folder / "dseg.tsv"
    rows = [("index", "name", "color"), (str(BACKGROUND), "background", "#000000")]
    rows += [(str(one.value), one.name, one.colour) for one in project.labels]
    rows += [(str(UNANNOTATED), "not annotated", "#5F7399")]
    write_text(table, "".join("\t".join(row) + "\n" for row in rows))
    about = folder / "dataset_description.json"
    write_json(
        about,
        {
            "Name": project.name,
            "BIDSVersion": VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [
                {
                    "Name": "napari-semiseg",
                    "Version": metadata.version("napari-semiseg"),
                }
            ],
        },
    )
    return [table, about]


def _entities(case: str) -> str:
    """Entities of a mask: those of the image, and the image itself as its space.

    Empty where the case has no such name.
    """
    *parts, suffix = case.split("_")
    if "-" in suffix:
        parts, suffix = [*parts, suffix], ""
    name = "_".join([*parts, *([f"space-{suffix}"] if suffix else []), "desc-semiseg"])
    return name if bids_mask_of(case, f"{name}_dseg") else ""


def _subject(case: str, cases: Sequence[str]) -> str:
    """Entities of a mask of a case whose name has none, which no other case gets."""
    plain = _letters(case)
    alike = [one for one in cases if _letters(one).casefold() == plain.casefold()]
    number = f"x{zlib.crc32(case.encode()):08x}" if len(alike) > 1 or not plain else ""
    return f"sub-{plain}{number}_desc-semiseg"


def _letters(case: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", case)
