"""Somebody annotates and the process is killed, again and again.

    python annotator.py PROJECT TRIES SEED

Every try is a process of its own, forked so that it starts at once. It paints voxel
after voxel through the panel's own annotation, whose autosave, drafts and acceptance
write to the project; each stroke and each saving that was reported is noted in a pipe.
After SIGKILL the project is opened as the panel opens it. Prints a JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from qtpy.QtCore import QCoreApplication

from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.project.project import Project
from napari_semiseg.widgets.canvas.annotation import Annotation
from napari_semiseg.widgets.canvas.case_model import CaseModel, OpenCase
from napari_semiseg.widgets.canvas.editing import Editing
from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
from napari_semiseg.widgets.canvas.mask_sources import choose_mask
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.elements.questions import Questions

CASE = "case_0"
AUTOSAVE_S = 0.01
LONGEST_S = 0.4
ACCEPT_EVERY, SAVE_EVERY = 37, 11


def opened(project: Project) -> np.ndarray:
    """The mask as the panel opens it."""
    case = project.case(CASE)
    return choose_mask(case, None, MaskEncoding(project.labels)).values


def strokes_in(values: np.ndarray) -> int:
    """How many voxels are painted; they are painted in the order of the volume."""
    painted = values.ravel() == 1
    count = int(painted.sum())
    assert painted[:count].all(), "the painted voxels are not the first ones"
    return count


def annotate(folder: Path, pipe: int) -> None:
    """Paint until killed; report strokes as p, what was said to be saved as s."""
    app = QCoreApplication([])
    session = Session()
    session.open_project(folder)
    project = session.project
    done = 0

    def said(text: str) -> None:
        if "saved" in text:
            os.write(pipe, f"s{done}\n".encode())

    session.status_changed.connect(said)
    model = CaseModel()
    annotation = Annotation(session, model, Questions(lambda: None))
    while True:
        case, encoding = project.case(CASE), MaskEncoding(project.labels)
        mask = choose_mask(case, None, encoding)
        layer = MaskLayer(mask.values)
        layer.brush_size = 1
        editing = Editing(
            layer,
            mask.reference,
            encoding,
            annotation.autosave,
            autosave_s=AUTOSAVE_S,
        )
        draft = case.read_draft()
        model.start(OpenCase(project, case, None, None, mask, editing, draft))
        done = strokes_in(layer.data)
        while done < layer.data.size - 1:
            os.write(pipe, f"p{done + 1}\n".encode())
            layer.paint(np.unravel_index(done, layer.data.shape), 1)
            done += 1
            app.processEvents()
            if done % SAVE_EVERY == 0:
                annotation.save_draft()
            if done % ACCEPT_EVERY == 0:
                break
        if annotation.accept(painted_only=True):
            os.write(pipe, f"s{done}\n".encode())
        editing.stop()


def kill_once(folder: Path, seconds: float) -> dict[str, int]:
    """Let a process annotate for a while, kill it, and look at what is there."""
    before = strokes_in(opened(Project.open(folder)))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            annotate(folder, writing)
        finally:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        first = pipe.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        notes = [note for note in (first + pipe.read()).split("\n") if note]
    # The kernel hands over what was written before the kill, whole lines or none.
    begun = max((int(note[1:]) for note in notes if note[0] == "p"), default=before)
    saved = max((int(note[1:]) for note in notes if note[0] == "s"), default=before)
    found = strokes_in(opened(Project.open(folder)))
    return {
        "killed": int(os.WIFSIGNALED(status)),
        "begun": begun,
        "saved": saved,
        "found": found,
    }


def warm_up(folder: Path) -> None:
    """Import here what each process would import anew."""
    project = Project.open(folder)
    project.save_draft(CASE, opened(project))
    MaskLayer(np.zeros((4, 4, 4), np.uint8)).paint((1, 1, 1), 1)


def main() -> None:
    folder, tries, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warm_up(folder)
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(0, LONGEST_S, tries)
    rows = [kill_once(folder, float(pause)) for pause in seconds]
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
