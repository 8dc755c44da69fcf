"""Which masks become labels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.errors import ImageError
from napari_semiseg.io.masks import read_labels
from synthetic import save_nifti


def test_a_mask_of_0_and_255_is_refused_and_changes_nothing(
    empty_project, spheres, tmp_path
):
    empty_project.add(spheres.images)
    case = empty_project.case(spheres.ids[0])
    binary = 255 * read_labels(spheres.masks / f"{case.id}.nii.gz", case.geometry)
    path = tmp_path / "binary.nii.gz"
    save_nifti(path, case.geometry.to_native(binary).astype(np.uint8))
    with pytest.raises(ImageError, match=r"1=left atrium.*only 0 and 255"):
        empty_project.set_label(case, path)
    assert not empty_project.case(case.id).has_label
