from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.project.project import Project
from widgets.conftest import write_volume

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 50
SHAPE = (24, 40, 40)


@pytest.mark.gui
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_no_edit_is_lost_when_the_process_is_killed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    image = write_volume(
        tmp_path / "images" / "case_0.nii.gz", np.zeros(SHAPE, np.int16)
    )
    project = Project.create(tmp_path / "atrium", {"left atrium": 1})
    project.add(image)
    script = Path(__file__).with_name("annotator.py")
    ran = subprocess.run(
        [sys.executable, str(script), str(project.folder), str(TRIES), "0"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)
    assert len(rows) == TRIES
    for row in rows:
        assert row["killed"], row
        assert row["saved"] <= row["found"] <= row["begun"], row
    record_property("saved", rows[-1]["saved"])
    assert rows[-1]["saved"] > TRIES
    assert any(row["found"] < row["begun"] for row in rows)
