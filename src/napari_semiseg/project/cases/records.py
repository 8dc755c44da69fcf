"""``case.json`` files, remembered while they do not change."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from pydantic import ValidationError

from napari_semiseg.core.config import describe
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import read_json, write_json
from napari_semiseg.project.cases.labels import measured_fraction, recorded_mask
from napari_semiseg.project.cases.record import CaseRecord
from napari_semiseg.project.cases.references import FileFacts
from napari_semiseg.project.layout import Layout, is_id


class Records:
    """Records of the cases of a project.

    A cohort of a thousand cases costs one look at each file's size and time; only
    files that have changed are read.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._records: dict[str, tuple[tuple[int, ...], CaseRecord]] = {}
        self._fractions: dict[str, tuple[FileFacts, float]] = {}

    def ids(self, part: slice = slice(None)) -> list[str]:
        """Ids of all cases, sorted; of the folders in a ``part``, others unseen."""
        parent = os.fspath(self._layout.cases)
        try:
            names = sorted(os.listdir(parent))
        except FileNotFoundError:
            return []
        record = self._layout.case("case").json.name
        return [
            name for name in names[part] if os.path.exists(f"{parent}/{name}/{record}")
        ]

    def read(self, case_id: str) -> CaseRecord:
        """Record of a case; refuses a file that is none."""
        folder = self._layout.case(case_id)
        path = folder.json
        facts = path.stat()
        key = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        known = self._records.get(case_id)
        if known is not None and known[0] == key:
            return known[1]
        folder.check()
        values = read_json(path)
        if isinstance(values, dict) and values.get("format") == 1:
            raise ProjectError(
                f"{path}: expected a record of format 2, found format 1; bring it up "
                f"to date with semiseg doctor {self._layout.path} --mend"
            )
        try:
            record = CaseRecord.model_validate(values)
        except ValidationError as error:
            raise ProjectError(
                f"{describe(error, str(path))}; correct or restore the file, or let "
                f"semiseg doctor {self._layout.path} --mend set it aside"
            ) from error
        if record.id != case_id:
            raise self._misnamed(path, case_id, record.id)
        self._records[case_id] = (key, record)
        return record

    def known(self, case_id: str) -> CaseRecord:
        """Record of a case; raises `unknown` where its folder was deleted."""
        try:
            return self.read(case_id)
        except FileNotFoundError:
            raise self.unknown(case_id) from None

    def _misnamed(self, path: Path, folder: str, case_id: str) -> ProjectError:
        """Error that a folder was renamed, or is a copy of another one."""
        if is_id(case_id) and self._layout.case(case_id).json.exists():
            remedy = "it is a copy: move this folder out of the project"
        else:
            remedy = "give the folder its old name back"
        return ProjectError(
            f"{path}: expected the record of case {folder!r}, as its folder is "
            f"named, found that of {case_id!r}; {remedy}"
        )

    def unknown(self, case_id: str) -> ProjectError:
        """Error that no case has this id, or that the project is gone."""
        if not self._layout.path.is_dir():
            return ProjectError(
                f"expected the project folder {self._layout.path}, found none; put it "
                "back or connect its drive, or open the project where it is now"
            )
        known = self.ids()
        close = difflib.get_close_matches(case_id, known, n=3)
        hint = (
            f"did you mean {', '.join(close)}?" if close else "add it with semiseg add"
        )
        return ProjectError(
            f"expected a case of the project, found '{case_id}', which is none of its "
            f"{len(known)}; {hint}"
        )

    def write(self, record: CaseRecord) -> None:
        """Write the record of a case, new or known."""
        write_json(self._layout.case(record.id).json, record.dump())

    def annotated_fraction(self, record: CaseRecord) -> float | None:
        """Annotated part of a case's label; None where there is no label.

        The voxels are read only where the history does not describe this very file,
        and then once.
        """
        label = self._layout.case(record.id).label
        try:
            facts = FileFacts.of(label)
        except FileNotFoundError:
            return None
        known = self._fractions.get(record.id)
        if known is None or known[0] != facts:
            entry = recorded_mask(record, facts)
            fraction = None if entry is None else entry.annotated_fraction
            if fraction is None:
                fraction = measured_fraction(label, record.geometry)
            known = self._fractions[record.id] = (facts, fraction)
        return known[1]
