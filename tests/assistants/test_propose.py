"""Assistants on a bright ball: good marks, bad marks, and assistants that misbehave."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from napari_semiseg.assistants.assist import assist, propose_into
from napari_semiseg.assistants.prompts import Prompt, whole_box
from napari_semiseg.assistants.propose import propose
from napari_semiseg.assistants.registry import ASSISTANTS, Assistant
from napari_semiseg.assistants.shipped import geodesic
from napari_semiseg.core.cancellation import CancellationToken, Cancelled
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ConfigError, SemisegError
from napari_semiseg.imaging.mask_encoding import MaskEncoding

SPACING = (2.0, 1.0, 1.0)
SHAPE = (20, 40, 40)


def ball() -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (2 * (z - 10)) ** 2 + (y - 18) ** 2 + (x - 22) ** 2 < 11**2


def picture(noise: float = 8.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (100 * ball() + rng.normal(0, noise, SHAPE)).astype(np.float32)


def stroke(slices: tuple[int, ...] = (10,)) -> list[Prompt]:
    """A line through the ball, and one beside it, on some axial slices."""
    line = np.arange(10)
    found = []
    for z in slices:
        inside = np.stack([0 * line + z, line + 13, 0 * line + 22], axis=1)
        found.append(Prompt("scribble", inside))
        beside = np.stack([0 * line + z, 0 * line + 3, 3 * line + 5], axis=1)
        found.append(Prompt("scribble", beside, foreground=False))
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def box() -> Prompt:
    return Prompt("box", np.array([[4, 6, 10], [16, 30, 34]]))


@pytest.mark.parametrize("name", ["geodesic", "grow"])
@pytest.mark.parametrize("scale", [1, 10, -3])
def test_strokes_on_one_slice_give_the_whole_structure(name, scale) -> None:
    mask = propose(scale * picture(), SPACING, stroke(), assistant=name)
    assert dice(mask, ball()) > 0.9


def test_a_box_stands_for_background() -> None:
    assert dice(propose(picture(), SPACING, [box()]), ball()) > 0.85
    point = Prompt("point", np.array([[10, 18, 22]]))
    mask = propose(picture(), SPACING, [point, box()], assistant="grow")
    assert dice(mask, ball()) > 0.9


def test_marks_on_background_keep_a_region_from_leaking() -> None:
    """A bridge joins the ball to a slab nearly as bright; one stroke cuts that off."""
    image = picture(4.0)
    image[:, :, 34:] += 90
    image[9:12, 17:20, 32:35] = 95
    inside, beside = stroke()
    line = np.stack([0 * (y := np.arange(30)) + 10, y + 5, 0 * y + 36], axis=1)
    slab = Prompt("scribble", line, foreground=False)
    loose = propose(image, SPACING, [inside], assistant="grow")
    held = propose(image, SPACING, [inside, beside, slab], assistant="grow")
    assert loose[:, :, 34:].mean() > 0.5
    assert held[:, :, 34:].mean() < 0.05


def test_voxels_of_10_mm_and_axes_of_one_slice_will_do() -> None:
    thick = picture()[::5]
    marks = [
        Prompt("scribble", one.voxels // (5, 1, 1), one.foreground) for one in stroke()
    ]
    mask = propose(thick, (10.0, 1.0, 1.0), marks)
    assert dice(mask, ball()[::5]) > 0.8
    flat = [
        Prompt("scribble", one.voxels * (0, 1, 1), one.foreground) for one in stroke()
    ]
    assert dice(propose(picture()[10:11], SPACING, flat), ball()[10:11]) > 0.9


def test_two_points_of_unlike_grey_grow() -> None:
    image = picture(0.0)
    image[10, 18, 22] = 60
    ends = [Prompt("point", np.array([[10, 18, x]])) for x in (22, 24)]
    mask = propose(image, SPACING, ends, assistant="grow")
    assert mask[10, 18, 22]
    assert mask[10, 18, 24]


def test_marks_win_over_what_an_assistant_says() -> None:
    wrong = [
        *stroke(),
        Prompt("point", np.array([[1, 1, 1]])),
        Prompt("point", np.array([[10, 18, 23]]), foreground=False),
    ]
    mask = propose(picture(), SPACING, wrong)
    assert mask[1, 1, 1]
    assert not mask[10, 18, 23]


def test_a_large_scan_is_cropped_and_coarsened(monkeypatch) -> None:
    """What the fronts run through is bounded, wherever the marks lie."""
    sizes = []
    arrival = geodesic._arrival

    def counted(slowness, seeds, spacing_mm):
        sizes.append(slowness.size)
        return arrival(slowness, seeds, spacing_mm)

    monkeypatch.setattr(geodesic, "_arrival", counted)
    image = np.zeros((300, 256, 256), np.int16)
    z, y, x = np.ogrid[:300, :256, :256]
    truth = (z - 150) ** 2 + (y - 128) ** 2 + (x - 100) ** 2 < 60**2
    image[truth] = 200
    line = np.arange(60)
    inside, beside = (
        np.stack([0 * line + 150, line + 98, 0 * line + column], axis=1)
        for column in (100, 180)
    )
    marks = [Prompt("scribble", inside), Prompt("scribble", beside, foreground=False)]
    mask = propose(image, (1.0, 0.8, 0.8), marks)
    assert mask.shape == image.shape
    assert dice(mask, truth) > 0.9
    assert max(sizes) <= geodesic.MOST_VOXELS


def bad(message: str, *prompts: Prompt, name: str = "geodesic"):
    return pytest.param(prompts, name, message, id=message[:40])


def point(*at: int, foreground: bool = True) -> Prompt:
    return Prompt("point", np.array([at]), foreground)


@pytest.mark.parametrize(
    ("prompts", "name", "message"),
    [
        bad("found only the first; mark some background", stroke()[0]),
        bad("expected a mark on the structure, found none", stroke()[1]),
        bad("expected a mark on the structure, found none"),
        bad(r"within the volume of \(20, 40, 40\) .* \(10, 40, 3\)", point(10, 40, 3)),
        bad(r"found \(-1, 0, 0\); mark inside", point(-1, 0, 0)),
        bad(
            "expected 1 voxels of a point, found 2",
            Prompt("point", np.ones((2, 3), int)),
        ),
        bad("expected 2 voxels of a box", Prompt("box", np.ones((1, 3), int))),
        bad("whole numbers", Prompt("scribble", np.ones((4, 3)))),
        bad("whole numbers", Prompt("scribble", np.ones((4, 2), int))),
        bad(
            "found one around background",
            stroke()[0],
            Prompt("box", box().voxels, False),
        ),
        bad(
            "marks on the structure apart",
            point(9, 9, 9),
            point(9, 9, 9, foreground=False),
        ),
        bad("found none in the box", box(), name="grow"),
        bad(
            "expected an assistant out of fake, geodesic, grow",
            *stroke(),
            name="nobody",
        ),
        bad("expected prompts out of point", *stroke(), name="fake"),
    ],
)
def test_bad_marks_are_one_line(fake, prompts, name, message) -> None:
    fake.takes = frozenset({"point"})
    with pytest.raises(SemisegError, match=message) as caught:
        propose(picture(), SPACING, prompts, assistant=name)
    assert "\n" not in str(caught.value)


class Fake:
    name, title, hint = "fake", "Fake", "Anything."
    takes = frozenset({"point", "scribble", "box"})
    needs_background = False

    def __init__(self, answer) -> None:
        self.answer = answer

    def propose(self, image, spacing_mm, prompts, current):
        return self.answer(image, current)


@pytest.fixture
def fake(monkeypatch) -> Fake:
    one = Fake(lambda image, current: np.zeros(image.shape, bool))
    kind: Assistant = one
    known = {**ASSISTANTS.entries(), "fake": kind}
    monkeypatch.setattr(ASSISTANTS, "_entries", known)
    return one


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda image, _: image[1:] > 0, r"shape \(20, 40, 40\).* bool \(19, 40, 40\)"),
        (lambda image, _: image / 3, "found float32"),
        (lambda image, _: None, "found object"),
        (
            lambda image, _: [[1], [2, 3]][2],
            "found IndexError: list index out of range",
        ),
        (lambda image, _: sys.exit(3), "found SystemExit: 3"),
    ],
)
def test_what_is_no_mask_is_refused(fake, answer, message) -> None:
    fake.answer = answer
    with pytest.raises(ConfigError, match=message):
        propose(picture(), SPACING, stroke(), assistant="fake")


def test_an_assistant_cannot_change_what_it_is_given(fake) -> None:
    def scribble_on_it(image, current):
        image[:] = 0

    fake.answer = scribble_on_it
    image = picture()
    before = image.copy()
    with pytest.raises(ConfigError, match="read-only"):
        propose(image, SPACING, stroke(), assistant="fake")
    assert np.array_equal(image, before)


def test_an_assistant_that_hangs_can_be_cancelled(fake) -> None:
    done = threading.Event()
    fake.answer = lambda image, current: done.wait(60)
    began = time.monotonic()
    token = CancellationToken(lambda: time.monotonic() - began > 0.2)
    with pytest.raises(Cancelled):
        propose(picture(), SPACING, stroke(), assistant="fake", cancellation=token)
    assert time.monotonic() - began < 10
    done.set()


def test_a_case_gets_a_draft_and_keeps_the_marks(ball_project) -> None:
    case = ball_project.case("case_2")
    truth = case.read_image().data > 50
    inside, outside = np.argwhere(truth), np.argwhere(~truth)
    middle = inside[len(inside) // 2][None]
    marks = [Prompt("point", middle), Prompt("scribble", outside[:200], False)]
    mask = assist(ball_project, case, marks)
    stored, encoding = ball_project.case("case_2"), MaskEncoding(case.scheme)
    assert np.array_equal(stored.read_draft(), mask)
    assert not stored.has_label
    assert dice(encoding.confirm(mask) == 1, truth) > 0.8
    human = encoding.human(mask) != 255
    assert np.array_equal(np.argwhere(human), outside[:200])
    entry = stored.record.history[-1]
    assert (entry.action, entry.assistant, entry.value) == ("prompt", "geodesic", 1)
    assert [len(mark.voxels) for mark in entry.marks] == [3, 600]
    assert not entry.marks[1].foreground
    again = assist(ball_project, case, marks[:1], assistant="grow")
    assert (again[tuple(outside[:200].T)] == 0).all()  # an annotation stays


def test_strokes_off_a_structure_are_no_label_where_there_is_another_class() -> None:
    encoding = MaskEncoding(LabelScheme.parse(["1=one", "2=two"]))
    mask = np.full(SHAPE, 255, np.uint8)
    mask[0] = 2
    mask[1] = encoding.proposed[2]
    inside, beside = stroke()
    over = Prompt("scribble", np.array([[0, 5, 5], [1, 5, 5]]))
    marks = [inside, beside, over]
    result = propose_into(mask, encoding, 1, picture(), SPACING, marks, locked=[2])
    assert (result[tuple(inside.voxels.T)] == 1).all()
    assert (result[tuple(beside.voxels.T)] == 255).all()
    assert np.array_equal(result[:2], mask[:2])
    assert dice(encoding.classes(result) == 1, ball()) > 0.9
    with pytest.raises(ConfigError, match="locked"):
        propose_into(mask, encoding, 1, picture(), SPACING, marks, locked=[1])


def test_rectangles_of_some_slices_are_one_box() -> None:
    def corners(*prompts: Prompt) -> list[list[int]]:
        (found,) = whole_box(prompts, SPACING, SHAPE)
        return found.voxels.tolist()

    flat = Prompt("box", np.array([[10, 6, 10], [10, 25, 29]]))
    assert corners(flat) == [[5, 6, 10], [15, 25, 29]]  # 20 mm, voxels of 2 mm
    edge = Prompt("box", np.array([[1, 6, 10], [1, 25, 29]]))
    assert corners(edge)[0] == [0, 6, 10]
    other = Prompt("box", np.array([[14, 30, 8], [14, 12, 20]]))
    assert corners(flat, other) == [[10, 6, 8], [14, 30, 29]]
    point = Prompt("point", np.array([[1, 2, 3]]))
    assert whole_box([point], SPACING, SHAPE) == [point]


def test_proposals_are_renewed_around_annotated_and_locked_voxels() -> None:
    encoding = MaskEncoding(LabelScheme.parse(["1=one", "2=two"]))
    one, two = encoding.proposed[1], encoding.proposed[2]
    mask = np.array([0, 1, 2, one, one, two, 255, 255, one], np.uint8)
    wanted = np.array([1, 2, 0, 0, 1, 0, 1, 2, 2], np.uint8)
    renewed = encoding.renew(mask, wanted, locked={2})
    assert renewed.tolist() == [0, 1, 2, 255, one, two, one, 255, one]
