from __future__ import annotations

import pytest

from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.io.images import read_geometry
from napari_semiseg.io.registry import Mask, writable
from napari_semiseg.io.surface import SURFACES
from synthetic import ball, save_nifti


@pytest.mark.parametrize("form", SURFACES)
@pytest.mark.parametrize(
    "name", ["a" * 300, "ä" * 300, "肝" * 300, f"liver {'b' * 300}"]
)
@pytest.mark.parametrize("case", ["case_0", "c" * 200])
def test_long_names_of_classes_are_cut(tmp_path, form, name, case) -> None:
    labels = ball(0)
    labels[2:5, 2:5, 2:5] = 2
    save_nifti(tmp_path / "image.nii.gz", labels)
    geometry, _ = read_geometry(tmp_path / "image.nii.gz")
    classes = LabelScheme.parse([f"1={name}", f"2={name}, too"]).classes
    mask = Mask(geometry.to_canonical(labels), geometry, tmp_path, classes)
    written = writable()[form].write(tmp_path / f"{case}.{form}", mask)
    assert [path.is_file() for path in written] == [True, True]
    for value, path in enumerate(written, start=1):
        assert path.name.startswith(f"{case}_{value}_{name[0]}")
        assert path.suffix == f".{form}"
        assert len(path.name.encode()) <= 255
    assert len({*tmp_path.iterdir()}) == 3
