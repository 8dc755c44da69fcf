"""Virtual patients for trying the whole loop without a network or patient data.

The cohort is **synthetic**: every "patient" is one and the same brain, the ICBM 152
average T1 of 2009 that nilearn ships, bent by a smooth random deformation and given
its own contrast, shading and noise. It shows that the software works. It says nothing
about how well a method does on patients.

The structure to segment is the lateral ventricles: the cerebrospinal fluid inside the
brain, which is the brain mask minus grey and white matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.errors import SemisegError
from napari_semiseg.io.atomic import atomic_path, read_json, write_json
from napari_semiseg.samples.template import Template, column

if TYPE_CHECKING:
    Array = NDArray[np.float32]

LABEL = "lateral ventricles"
N_LABELLED = 3
ABOUT = (
    "Synthetic: each image is a random deformation of one template, the ICBM 152 2009 "
    "average T1 (Fonov et al., NeuroImage 2011), with random contrast, shading and "
    "noise. No patient is in it, and scores on it say nothing about patients."
)
_FORMAT = 1
_FIELD_OF_VIEW_MM = (182.0, 218.0, 182.0)
_REACH_MM = 8.0  # how far from the ventricles their swelling moves tissue


@dataclass(frozen=True, slots=True)
class Cohort:
    """Files of a cohort of virtual patients.

    Attributes
    ----------
    folder : Path
        Holds ``imagesTr``, ``labelsTr`` and ``cohort.json``.
    images, masks : tuple of Path
        One NIfTI per patient, in the same order: int16 images, uint8 masks
        (1 = lateral ventricles).
    labelled : list of str
        Ids of the patients whose mask may be used for training; the other masks are
        references for scoring.
    """

    folder: Path
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    labelled: list[str]

    @property
    def ids(self) -> list[str]:
        """Case ids, in the order of `images`."""
        return [path.name.removesuffix(".nii.gz") for path in self.images]


@dataclass(frozen=True, slots=True)
class Patient:
    """One virtual patient on its own grid, arrays in the file's order (i, j, k).

    Attributes
    ----------
    image : ndarray (I, J, K), int16
    mask : ndarray (I, J, K), uint8
    affine : ndarray (4, 4)
        (i, j, k, 1) to RAS+ mm.
    template_mm : ndarray (3, I, J, K), float32
        Where in the template, in RAS+ mm, each voxel comes from.
    """

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    template_mm: Array


def make_cohort(
    folder: Path | str, *, n: int = 12, seed: int = 0, spacing_mm: float = 2.0
) -> Cohort:
    """Write a cohort of virtual patients, or find the one that is there already.

    Patient number i depends on (`seed`, i) only, not on `n`; `spacing_mm` changes the
    sampling and not the anatomy.

    Parameters
    ----------
    folder : Path
        Is created; files of an equal earlier call are reused.
    n : int
        Number of patients; the first three are labelled.
    seed : int
        Seed of all randomness.
    spacing_mm : float
        Size of the cubic voxels.

    Raises
    ------
    SemisegError
        nilearn is not installed, or the folder holds another cohort.
    """
    folder = Path(folder)
    recipe = {"format": _FORMAT, "n": n, "seed": seed, "spacing_mm": spacing_mm}
    cohort = _paths(folder, n)
    record = folder / "cohort.json"
    if record.exists():
        found = read_json(record)
        if {key: found.get(key) for key in recipe} != recipe:
            raise SemisegError(
                f"{folder} holds another demo cohort (expected {recipe}); "
                f"choose another folder"
            )
    missing = [
        index
        for index in range(n)
        if not (cohort.images[index].exists() and cohort.masks[index].exists())
    ]
    if missing:
        template = Template.load()
        for index in missing:
            patient = make_patient(template, index, seed=seed, spacing_mm=spacing_mm)
            _write(patient.mask, patient.affine, cohort.masks[index])
            _write(patient.image, patient.affine, cohort.images[index])
    if not record.exists():
        write_json(record, {"about": ABOUT, "label": LABEL, **recipe})
    return cohort


def _paths(folder: Path, n: int) -> Cohort:
    ids = [f"patient_{number:02d}" for number in range(1, n + 1)]
    return Cohort(
        folder=folder,
        images=tuple(folder / "imagesTr" / f"{name}.nii.gz" for name in ids),
        masks=tuple(folder / "labelsTr" / f"{name}.nii.gz" for name in ids),
        labelled=ids[:N_LABELLED],
    )


def _write(values: NDArray[Any], affine: NDArray[np.float64], target: Path) -> None:
    import nibabel

    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as path:
        nibabel.save(image, path)


def make_patient(
    template: Template, index: int, *, seed: int = 0, spacing_mm: float = 2.0
) -> Patient:
    """Make virtual patient number `index` (from 0) in memory."""
    rng = np.random.default_rng([seed, index])
    shape = tuple(int(np.ceil(length / spacing_mm)) for length in _FIELD_OF_VIEW_MM)
    middle = template.affine[:3] @ [*(np.array(template.t1.shape) / 2), 1.0]
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = middle - spacing_mm * (np.array(shape) - 1) / 2
    axes = [
        affine[axis, 3] - middle[axis] + spacing_mm * np.arange(shape[axis])
        for axis in range(3)
    ]
    at_mm = _deform(rng, axes) + column(middle)
    at_mm = _swell(rng, template, at_mm)
    image = _acquire(rng, template, at_mm, axes, spacing_mm)
    mask = template.sample(template.distance_mm, at_mm, near=True) < 0
    return Patient(image, mask.astype(np.uint8), affine, at_mm)


def _deform(rng: np.random.Generator, axes: list[NDArray[np.float64]]) -> Array:
    """Turn, scale, shift and bend; (3, I, J, K) in mm about the middle."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", rng.uniform(-7, 7, 3), degrees=True)
    matrix = turn.as_matrix() @ np.diag(np.exp(rng.normal(0, 0.04, 3)))
    shift = rng.uniform(-5, 5, 3)
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    at = np.tensordot(matrix.astype(np.float32), grid, axes=1)
    bends = np.stack(
        [
            3.0 * _smooth_field(rng, axes, finest_mm=80.0)
            + 0.7 * _smooth_field(rng, axes, finest_mm=40.0)
            for _ in range(3)
        ]
    )
    return np.asarray(at + bends + column(shift), dtype=np.float32)


def _swell(rng: np.random.Generator, template: Template, at_mm: Array) -> Array:
    """Push the tissue around the ventricles outwards, or let it fall inwards."""
    by_mm = rng.uniform(-1.0, 1.8)
    distance = template.sample(template.distance_mm, at_mm, near=True)
    push = by_mm * np.exp(-0.5 * (distance / _REACH_MM) ** 2)
    outward = [template.sample(part, at_mm, near=True) for part in template.outward]
    return np.asarray(at_mm - push * np.stack(outward), dtype=np.float32)


def _acquire(
    rng: np.random.Generator,
    template: Template,
    at_mm: Array,
    axes: list[NDArray[np.float64]],
    spacing_mm: float,
) -> NDArray[np.int16]:
    """Image the deformed brain: resolution, contrast, coil shading, Rician noise."""
    from scipy import ndimage

    blur = np.hypot(0.35 * spacing_mm, rng.uniform(0, 0.6))
    signal = template.sample(ndimage.gaussian_filter(template.t1, blur), at_mm)
    signal = np.clip(signal, 0, 1) ** np.exp(rng.uniform(-0.35, 0.75))
    shading = rng.uniform(0.05, 0.2) * _smooth_field(rng, axes, finest_mm=120.0)
    signal = signal * np.exp(shading)
    noise = rng.uniform(0.015, 0.05) * rng.normal(size=(2, *signal.shape))
    magnitude = np.hypot(signal + noise[0], noise[1])
    return np.asarray(np.rint(magnitude * rng.uniform(300, 1200)), dtype=np.int16)


def _smooth_field(
    rng: np.random.Generator, axes: list[NDArray[np.float64]], *, finest_mm: float
) -> Array:
    """Sum random cosines of at least `finest_mm` wavelength to a field of SD 1.

    Its coefficients do not depend on how finely `axes` sample the field of view.
    """
    waves = [int(2 * length / finest_mm) + 1 for length in _FIELD_OF_VIEW_MM]
    weights = rng.normal(size=waves)
    weights[0, 0, 0] = 0
    bases, power = [], []
    for axis, (count, length) in enumerate(zip(waves, _FIELD_OF_VIEW_MM, strict=True)):
        number = np.arange(count)
        along = np.pi * number * (axes[axis][:, None] / length + 0.5)
        bases.append(np.cos(along))
        power.append(np.where(number > 0, 0.5, 1.0))
    field = np.einsum("abc,ia,jb,kc->ijk", weights, *bases, optimize=True)
    variance = np.einsum("abc,a,b,c->", weights**2, *power)
    return np.asarray(field / np.sqrt(variance), dtype=np.float32)
