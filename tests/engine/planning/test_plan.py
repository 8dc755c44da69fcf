from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.geometry import Geometry
from napari_semiseg.core.labels import UNANNOTATED, LabelScheme
from napari_semiseg.core.plan import Intensity
from napari_semiseg.engine.data.sampler import SyntheticBatches
from napari_semiseg.engine.networks.registry import halve, kernels
from napari_semiseg.engine.planning import plan as planning
from napari_semiseg.engine.planning.fingerprint import (
    SLICES,
    Fingerprint,
    Truth,
    fingerprint,
    single_pieces,
)
from napari_semiseg.imaging.intensities import normalise


def facts(shape=(88, 142, 190), spacing=(0.625, 0.625, 0.625), radius=20.0):
    grid = np.indices((88, 88, 88)) - 44.0
    mask = (np.linalg.norm(grid, axis=0) < radius).astype(np.uint8)
    grey = Intensity(kind="zscore", cut=(0.5, 99.5), mean_std=(0.0, 1.0))
    return Fingerprint(
        spacing, shape, ("image",), (grey,), (Truth(mask, (0.625,) * 3),)
    )


def test_working_grid_is_as_coarse_as_the_budget_needs():
    spacing, _ = planning.choose_spacing(facts(), 10_000_000)
    assert spacing == (0.625, 0.625, 0.625)
    spacing, reason = planning.choose_spacing(facts(), 300_000)
    assert 1.25 <= spacing[0] <= 1.75
    assert "survive" in reason


def boxes(sizes, shape=(60, 128, 96), spacing=(1.0, 1.0, 1.0)):
    """Facts of a scan with cubes of these sizes, a class each."""
    mask = np.zeros(shape, np.uint8)
    for number, size in enumerate(sizes):
        at = 4 + 24 * number
        mask[at : at + size, 30 : 30 + size, 20 : 20 + size] = number + 1
    grey = Intensity(kind="zscore", cut=(0.5, 99.5), mean_std=(0.0, 1.0))
    return Fingerprint(spacing, shape, (), (grey,), (Truth(mask, spacing),))


def test_a_small_class_beside_large_ones_does_not_pin_the_grid():
    """Crops that hold a twentieth of a volume cannot tell left from right."""
    spacing, _ = planning.choose_spacing(boxes([20, 20]), 40_000)
    assert spacing[0] >= 2.0
    assert planning.choose_spacing(boxes([20, 6]), 40_000)[0][0] >= 1.5
    assert planning.choose_spacing(boxes([3, 3]), 40_000)[0][0] < 2.0


def test_a_size_after_one_that_blurs_more_is_found(monkeypatch):
    """Masks often survive doubled voxels better than those in between."""
    blur = {1.0: 1.0, 2.0: 0.99}
    monkeypatch.setattr(
        planning, "oracle_dice", lambda _, working: blur.get(working[0], 0.9)
    )
    spacing, reason = planning.choose_spacing(boxes([20]), 60_000)
    assert spacing == (2.0, 2.0, 2.0)
    assert "coarser would blur the masks (0.900 Dice)" in reason


def test_the_oracle_gives_a_voxel_to_the_likeliest_class():
    """Where three classes meet no share may be above a half, and one still wins."""
    mask = np.full((24, 24, 24), 3, np.uint8)
    mask[:, :12, :12], mask[:, :12, 12:] = 1, 2
    grey = Intensity(kind="zscore", cut=(0.5, 99.5), mean_std=(0.0, 1.0))
    full = Fingerprint((1.0,) * 3, mask.shape, (), (grey,), (Truth(mask, (1.0,) * 3),))
    assert planning.oracle_dice(full, (3.0, 3.0, 3.0)) == 1.0


def test_the_oracle_is_a_mean_over_scans_and_classes():
    small, large = boxes([3]), boxes([20])
    both = Fingerprint(
        small.spacing_mm,
        small.shape_zyx,
        (),
        small.intensities,
        small.truths + large.truths,
    )
    scores = [planning.oracle_dice(one, (2.5,) * 3) for one in (small, large, both)]
    assert scores[0] < scores[1]
    assert scores[2] == pytest.approx((scores[0] + scores[1]) / 2)


def test_small_structures_keep_the_grid_fine():
    spacing, reason = planning.choose_spacing(facts(radius=3.0), 32_000)
    coarse, _ = planning.choose_spacing(facts(radius=20.0), 32_000)
    assert spacing[0] < 0.6 * coarse[0]
    assert "blur" in reason


def test_anisotropic_scans_lose_their_fine_axes_first():
    spacing, _ = planning.choose_spacing(
        facts((40, 300, 300), (5.0, 1.0, 1.0)), 1_000_000
    )
    assert spacing[0] == 5.0
    assert spacing[1] == spacing[2] > 1.0


@pytest.mark.parametrize(
    "shape", [(44, 71, 95), (36, 51, 35), (600, 512, 512), (12, 256, 256), (9, 9, 9)]
)
def test_patch_fits_the_network(shape):
    patch = planning.choose_patch(shape, 110_000)
    strides = halve(patch, (1.0, 1.0, 1.0))
    assert np.prod(patch) <= 110_000 * 1.5
    assert 1 <= len(strides) <= 4
    for axis in range(3):
        product = int(np.prod([stride[axis] for stride in strides]))
        assert patch[axis] % product == 0
        assert patch[axis] // product >= 4


def test_patch_holds_a_volume_that_is_small_enough():
    patch = planning.choose_patch((36, 51, 35), 110_000)
    assert patch == (40, 56, 40)


@pytest.mark.parametrize(
    ("shape", "voxels", "patch", "halvings"),
    [
        ((44, 88, 96), 32_000, (24, 40, 40), (2, 3, 3)),
        ((44, 88, 96), 200_000, (40, 72, 72), (3, 3, 3)),
        ((44, 88, 96), 600_000, (48, 88, 96), (3, 3, 4)),
        ((36, 50, 36), 32_000, (32, 32, 32), (3, 3, 3)),
        ((36, 50, 36), 600_000, (40, 56, 40), (3, 3, 3)),
        ((64, 112, 144), 200_000, (40, 64, 80), (3, 4, 4)),
        ((64, 112, 144), 600_000, (56, 96, 120), (3, 4, 3)),
        ((16, 256, 256), 200_000, (16, 120, 128), (2, 3, 4)),
    ],
)
def test_plans_of_ordinary_volumes_stay(shape, voxels, patch, halvings):
    made = planning.choose_patch(shape, voxels)
    strides = halve(made, (1.0, 1.0, 1.0))
    assert made == patch
    assert tuple(np.log2(np.prod(strides, axis=0)).astype(int)) == halvings


@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((3, 256, 256), (8, 160, 160)),
        ((8, 256, 256), (8, 160, 160)),
        ((10, 256, 256), (12, 128, 128)),
        ((256, 256, 5), (160, 160, 8)),
        ((9, 9, 9), (12, 12, 12)),
    ],
)
def test_a_short_axis_is_held_without_much_padding(shape, patch):
    assert planning.choose_patch(shape, 200_000) == patch


def test_minutes_and_speed_decide_voxels_then_crop(plan):
    """Two minutes a hundredfold slower: coarser voxels; and smaller crops at last."""
    config = TrainingConfig(minutes=20)
    quick = planning.with_grid(plan, config, facts(), 2e-6)
    slow = planning.with_grid(plan, config, facts(), 2e-5)
    assert max(quick.spacing_mm) < max(slow.spacing_mm)
    for made, pace in ((quick, 2e-6), (slow, 2e-5)):
        voxels = np.prod(made.patch_zyx)
        steps = 20 * 60 / (voxels * pace)
        assert 0.4 < voxels / steps / planning.VOXELS_PER_STEP < 2.5
        assert made.sdm_limit_mm == planning.LIMIT_VOXELS * min(made.spacing_mm)
    crawling = planning.with_grid(plan, config, facts(), 1e-3)
    assert np.prod(crawling.patch_zyx) < 1.3 * planning.SMALLEST_PATCH
    assert "20 min" in crawling.reasons["spacing_mm"]


def test_what_is_asked_for_is_taken(plan):
    config = TrainingConfig(steps=5, spacing_mm=(2.0, 1.5, 1.5), patch_zyx=(16, 24, 32))
    made = planning.with_grid(plan, config, facts(), 0.0)
    assert made.spacing_mm == (2.0, 1.5, 1.5)
    assert made.patch_zyx == (16, 24, 32)
    assert made.reasons["patch_zyx"] == made.reasons["spacing_mm"] == "asked for"


@pytest.mark.parametrize(
    ("patch", "spacing", "halved", "flat"),
    [
        ((8, 96, 80), (10.0, 3.1, 3.1), (1,), 1),
        ((8, 128, 112), (10.0, 2.2, 2.2), (2,), 2),
        ((8, 96, 80), (10.0, 0.5, 0.5), (3,), 5),
        ((12, 56, 48), (10.0, 6.25, 6.25), (0,), 0),
        ((24, 96, 96), (4.0, 1.5, 1.5), (1, 2), 1),
        ((32, 32, 32), (1.0, 1.0, 1.0), (0, 1, 2), 0),
    ],
)
def test_thick_slices_wait_until_the_plane_is_as_coarse(patch, spacing, halved, flat):
    strides = halve(patch, spacing)
    across = [stride[0] for stride in strides]
    assert [level for level, by in enumerate(across) if by == 2] == list(halved)
    assert all(stride[1:] == (2, 2) for stride in strides)
    sizes = kernels(strides, spacing)
    assert len(sizes) == (len(strides) + 1 if flat else 0)
    assert [size[0] for size in sizes] == [1] * flat + [3] * (len(sizes) - flat)
    assert all(size[1:] == (3, 3) for size in sizes)


def test_levels_are_planned_for_the_working_voxels(plan):
    thick = facts((10, 256, 216), (10.0, 1.5, 1.5))
    config = TrainingConfig(steps=5, spacing_mm=(10.0, 3.0, 3.0), patch_zyx=(8, 96, 80))
    made = planning.with_grid(plan, config, thick, 0.0)
    assert made.strides[0] == (1, 2, 2)
    assert made.kernels[0] == (1, 3, 3)
    assert made.kernels[1:] == ((3, 3, 3),) * len(made.strides)


@pytest.mark.parametrize(
    ("asked", "taken", "reason"),
    [
        ((8, 128, 128), (8, 128, 128), "asked for"),
        ((12, 64, 64), (12, 64, 64), "asked for"),
        (
            (20, 100, 100),
            (24, 104, 104),
            "asked for [20, 100, 100], rounded up to multiples of 8",
        ),
        (
            (9, 100, 100),
            (12, 104, 104),
            "asked for [9, 100, 100], rounded up to 12 or multiples of 8",
        ),
    ],
)
def test_a_crop_that_is_asked_for_grows_only_as_the_network_needs(
    plan, asked, taken, reason
):
    config = TrainingConfig(steps=5, patch_zyx=asked)
    made = planning.with_grid(plan, config, facts(), 0.0)
    assert made.patch_zyx == taken
    assert made.reasons["patch_zyx"] == reason
    halved = np.prod(made.strides, axis=0)
    assert not (np.array(taken) % halved).any()


@pytest.mark.parametrize(
    ("device", "pace", "most", "voxels", "reason"),
    [
        ("cpu", 1e-6, None, 109_544, "10,954 steps with crops of 109,544 voxels)"),
        (
            "cpu",
            1e-8,
            10**9,
            600_000,
            "but 600,000 are the most on this kind of device",
        ),
        ("mps", 1e-8, None, 1_000_000, "but 1,000,000 are the most on this kind"),
        ("cuda", 1e-10, None, 10_000_000, "but 10,000,000 are the most on this kind"),
        ("cuda", 1e-10, 10**9, 10_000_000, "but 10,000,000 are the most on this kind"),
        ("cuda", 1e-10, 10**7, 8_000_000, "the free memory holds crops of 10,000,000"),
        ("cpu", 1e-3, None, 32_000, "of 3,464 voxels, but 32,000 are the least"),
    ],
)
def test_the_bound_that_decided_a_crop_is_named(
    plan, device, pace, most, voxels, reason
):
    plan = plan.model_copy(update={"device": device})
    made = planning.with_grid(plan, TrainingConfig(minutes=20), facts(), pace, most)
    assert f"as much of it as {voxels:,} voxels hold" in made.reasons["patch_zyx"]
    assert reason in made.reasons["patch_zyx"]
    assert reason in made.reasons["spacing_mm"]


def test_a_large_gpu_trains_on_whole_volumes_in_their_own_voxels(plan):
    plan = plan.model_copy(update={"device": "cuda"})
    large = facts((88, 320, 320))
    made = planning.with_grid(plan, TrainingConfig(minutes=20), large, 1e-10, 10**9)
    assert made.spacing_mm == large.spacing_mm
    assert made.patch_zyx == large.shape_zyx


def test_oracle_dice_falls_with_the_voxel_size():
    scores = [planning.oracle_dice(facts(), (s, s, s)) for s in (0.625, 1.25, 5.0)]
    assert scores[0] == 1.0
    assert scores[0] > scores[1] > scores[2] > 0.5


@pytest.mark.parametrize(
    ("texts", "mirrored"),
    [(["1=left atrium"], True), (["1=left kidney", "2=right kidney"], False)],
)
def test_classes_that_tell_sides_are_not_mirrored(texts, mirrored):
    config = TrainingConfig(steps=1)
    plan = planning.draft(config, facts(), torch.device("cpu"), unlabelled=0)
    plan = planning.with_labels(plan, LabelScheme.parse(texts))
    assert plan.mirrored is mirrored
    assert ("tell the sides" in plan.reasons["mirrored"]) is not mirrored
    assert plan.classes == tuple(range(1, len(texts) + 1))


@pytest.mark.parametrize(
    ("asked", "labelled", "unlabelled", "said"),
    [
        ({}, 4, 6, "4 labelled crops (2 each), 6 unlabelled crops (3 each)"),
        (
            {"labelled_batch": 2},
            *(2, 6),
            "2 labelled crops (as asked for), 6 unlabelled crops (3 each)",
        ),
        (
            {"unlabelled_batch": 2},
            *(4, 2),
            "4 labelled crops (2 each), 2 unlabelled crops (as asked for)",
        ),
    ],
)
def test_a_batch_that_is_not_asked_for_grows_with_the_devices(
    asked, labelled, unlabelled, said
):
    config = TrainingConfig(steps=1, **asked)
    plan = planning.draft(config, facts(), torch.device("cpu"), unlabelled=3, devices=2)
    assert (plan.labelled_batch, plan.unlabelled_batch) == (labelled, unlabelled)
    assert plan.reasons["devices"] == f"2 devices share each batch: {said}"
    alone = planning.draft(config, facts(), torch.device("cpu"), unlabelled=3)
    assert "devices" not in alone.reasons
    assert plan.learning_rate == alone.learning_rate
    none = planning.draft(config, facts(), torch.device("cpu"), unlabelled=0, devices=2)
    assert none.reasons["devices"].endswith(", no unlabelled crops")


def test_crops_grow_where_devices_share_a_batch_that_is_asked_for():
    """Each has less to do in a step, so that the minutes hold more voxels."""
    config = TrainingConfig(minutes=5, labelled_batch=4, precision="fp32")
    cpu = torch.device("cpu")
    sizes = []
    for devices in (1, 2):
        plan = planning.draft(config, facts(), cpu, unlabelled=0, devices=devices)
        crops = SyntheticBatches(plan, 2, devices).batch(0, cpu).target.shape[0]
        assert crops == 4 // devices
        made = planning.with_grid(plan, config, facts(), 4e-7 * crops)
        sizes.append(math.prod(made.patch_zyx))
    assert sizes[1] > 1.2 * sizes[0]


def test_objects_of_one_grey_value_leave_a_ct_its_contrast():
    """Metal is as bright as a scan can hold: cut at its range, all would be alike."""
    image = np.full((8, 30, 30), -1000.0, np.float32)
    image[:, 5:25, 5:25] = 40.0
    mask = np.zeros(image.shape, np.uint8)
    mask[3:5, 10:14, 10:14] = 1
    image[mask > 0] = 3071.0
    case = SimpleNamespace(
        geometry=Geometry(image.shape, np.diag([-1.0, -1.0, 1.0, 1.0])),
        channel_names=("CT",),
        read_label=lambda: mask,
        read_images=lambda: [SimpleNamespace(data=image)],
    )
    (how,) = fingerprint([case], [case]).intensities
    found = normalise(image, how)
    assert how.calibrated
    assert found[mask > 0].min() - found[mask == 0].max() > 1
    assert np.ptp(found) < 100


def labelled(*masks):
    """Cases that have nothing but a label."""
    return [SimpleNamespace(read_label=lambda mask=mask: mask) for mask in masks]


def test_structures_that_are_one_piece_in_all_whole_labels_are_found():
    one = np.zeros((9, 9, 9), np.uint8)
    one[1:5, 1:5, 1:5] = 2
    one[6:8, 6:8, 6:8] = 4
    two = one.copy()
    two[1:3, 1:3, 7] = 4
    part = one.copy()
    part[0] = UNANNOTATED
    assert single_pieces(labelled(one, one, one, one)) == ((2, 4), 4)
    assert single_pieces(labelled(one, two, one, one)) == ((2,), 4)
    # Three are too few to tell, and of partly annotated ones pieces may be unknown.
    assert single_pieces(labelled(one, one, one)) == ((), 3)
    assert single_pieces(labelled(one, one, one, part, part)) == ((), 3)
    assert single_pieces([]) == ((), 0)
    # A structure that fewer scans show is not judged by the others.
    rare = np.where(one == 4, 0, one).astype(np.uint8)
    assert single_pieces(labelled(one, one, one, rare)) == ((2,), 4)


def test_of_many_labels_a_few_are_read():
    read = []
    mask = np.ones((2, 2, 2), np.uint8)
    cases = [
        SimpleNamespace(read_label=lambda at=at: read.append(at) or mask)
        for at in range(100)
    ]
    assert single_pieces(cases) == ((1,), 8)
    assert read == list(range(0, 100, 13))


def test_a_plan_says_of_what_the_largest_piece_stays():
    config = TrainingConfig(steps=1)
    plan = planning.draft(config, facts(), torch.device("cpu"), unlabelled=0)
    scheme = LabelScheme.parse(["1=atrium", "7=valve"])
    plain = planning.with_labels(plan, scheme)
    assert plain.single_pieces == ()
    assert "single_pieces" not in plain.reasons
    made = planning.with_labels(plan, scheme, (7,), 5)
    assert made.single_pieces == (7,)
    assert made.reasons["single_pieces"].startswith("valve: one piece in all")


def painted(mask, *, planes=(), axis=0):
    """A mask of which only these planes are annotated."""
    known = np.full_like(mask, UNANNOTATED)
    where = (*(slice(None),) * axis, list(planes))
    known[where] = mask[where]
    return known


def of(*masks, spacing=(1.0, 1.0, 1.0)):
    """Facts of a cohort with these masks, as a project has them."""
    cases = [Scan(mask, spacing) for mask in masks]
    return fingerprint(cases, cases)


class Scan:
    """Stands for a labelled case."""

    channel_names = ("image",)

    def __init__(self, mask, spacing):
        self.mask = mask
        self.geometry = Geometry(mask.shape, np.diag([*spacing, 1.0]))

    def read_label(self):
        return self.mask

    def read_images(self):
        return [SimpleNamespace(data=self.mask.astype(np.int16))]


BALL = facts(radius=12.0).truths[0].mask


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("working", [(1.5,) * 3, (2.5,) * 3, (3.0,) * 3])
def test_a_few_slices_tell_what_a_whole_mask_tells(axis, working):
    """They neither vanish in thick working voxels nor claim that nothing is lost."""
    whole = planning.oracle_dice(of(BALL), working)
    few = of(painted(BALL, planes=range(33, 56, 4), axis=axis))
    assert planning.oracle_dice(few, working) == pytest.approx(whole, abs=0.012)


def test_slices_lose_only_in_their_plane_where_voxels_do_not_grow_across():
    few = of(painted(BALL, planes=range(33, 56, 4)), spacing=(5.0, 1.0, 1.0))
    thick = planning.oracle_dice(few, (5.0, 2.5, 2.5))
    cubes = planning.oracle_dice(few, (5.1, 2.5, 2.5))
    assert 1 - cubes == pytest.approx(1.5 * (1 - thick))
    assert thick < 0.999


def test_coarser_voxels_are_reckoned_with_slices_where_no_mask_is_complete():
    small = facts(radius=4.0).truths[0].mask
    few = painted(small, planes=[42, 44, 46])
    spacing, reason = planning.choose_spacing(of(few), 32_000)
    assert spacing[0] < 2.0
    assert "would blur" in reason
    _, reason = planning.choose_spacing(of(few), 10**7)
    assert "annotated slices survive with Dice 1.000" in reason
    alone, both = of(BALL), of(few, BALL)
    assert planning.choose_spacing(both, 32_000) == planning.choose_spacing(
        alone, 32_000
    )


def test_slices_of_all_cases_count_as_one():
    """The tip of an organ alone does not keep the grid fine."""
    tip, middle = (painted(BALL, planes=[index]) for index in (33, 44))
    alone, both = (
        planning.oracle_dice(of(*masks), (4.0,) * 3) for masks in ([tip], [tip, middle])
    )
    assert alone < 0.9 < both


def test_where_nothing_can_be_measured_nothing_is_claimed():
    scribble = np.full_like(BALL, UNANNOTATED)
    scribble[44, 44, 30:60] = BALL[44, 44, 30:60]
    _, reason = planning.choose_spacing(of(scribble), 10_000)
    assert "no mask to measure what coarser voxels lose" in reason
    assert "Dice" not in reason


def test_few_slices_of_a_mask_are_kept():
    """So that a huge scan of which some is annotated costs no more than that."""
    nearly = painted(BALL, planes=range(1, 88))
    (one,) = of(nearly).truths
    assert one.across == 0
    assert 8 <= len(one.mask) <= SLICES
    assert one.mask.base is None
    assert one.mask.any(axis=(1, 2)).all()
