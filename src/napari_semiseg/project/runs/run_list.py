"""The runs of a project: found by id, by age, and by what they have predicted."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from napari_semiseg.errors import ProjectError
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from napari_semiseg.project.layout import Layout


class RunList:
    """Runs of a project, remembered between questions."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._runs: dict[str, Run] = {}

    def all(self) -> list[Run]:
        """All runs, oldest first."""
        try:
            names = {
                entry.name
                for entry in os.scandir(self._layout.runs)
                if entry.is_dir() and not entry.name.startswith(".")
            }
        except FileNotFoundError:
            names = set()
        self._runs = {
            name: self._runs.get(name) or Run.open(self._layout.run(name))
            for name in names
        }
        return sorted(self._runs.values(), key=lambda run: (run.created, run.id))

    def get(self, run_id: str) -> Run:
        """One run.

        Raises
        ------
        ProjectError
            There is none of this id; names those there are.
        """
        runs = self.all()
        for run in runs:
            if run.id == run_id:
                return run
        known = ", ".join(run.id for run in runs[-5:]) or "none; train one first"
        raise ProjectError(
            f"expected a run of the project, found '{run_id}'; there is {known}"
        )

    def latest(self, finished: bool = False) -> Run | None:
        """Newest run; with ``finished``, the newest that has ended with a model."""
        for run in reversed(self.all()):
            ended = run.has_model and run.status not in ("preparing", "running")
            if ended or not finished:
                return run
        return None

    def new_id(self, method: str) -> str:
        """Give an id that no run has, such as ``2026-11-21_ug_mcl_01``."""
        plain = re.sub(r"[^\w-]", "-", method)
        number = 1
        while True:
            name = f"{time.strftime('%Y-%m-%d')}_{plain}_{number:02d}"
            if not self._layout.run(name).path.exists():
                return name
            number += 1

    def predicting(self, case_id: str) -> Run | None:
        """Newest run that holds a prediction of the case."""
        return next(
            (run for run in reversed(self.all()) if run.has_prediction(case_id)), None
        )
