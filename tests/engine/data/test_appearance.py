from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.volumes import prepared
from napari_semiseg.core.plan import Intensity
from napari_semiseg.engine.data import sampler as sampling
from napari_semiseg.engine.data.appearance import QUANTILES, matched, quantiles
from napari_semiseg.engine.data.sampler import Sampler, Streams


def scan(seed, scale=1.0, shift=0.0):
    drawn = np.random.default_rng(seed).gamma(2.0, size=(1, 20, 22, 24))
    return (drawn * scale + shift).astype(np.float16)


def test_a_matched_scan_has_the_quantiles_of_the_other():
    dark, bright = scan(1), scan(2, 3.0, 5.0)
    mine, theirs = quantiles(dark), quantiles(bright)
    assert mine.shape == (1, QUANTILES)
    moved = matched(dark[0].astype(np.float32), mine[0], theirs[0], 1.0)
    assert np.allclose(quantiles(moved[np.newaxis]), theirs, atol=0.1)
    order = np.argsort(dark[0].ravel(), kind="stable")
    assert (np.diff(moved.ravel()[order]) >= 0).all()


def test_half_of_the_way_is_between():
    dark, bright = scan(1), scan(2, 3.0, 5.0)
    values = dark[0].astype(np.float32)
    ends = [
        matched(values, quantiles(dark)[0], quantiles(bright)[0], strength)
        for strength in (0.0, 0.5, 1.0)
    ]
    assert np.allclose(ends[0], values, atol=1e-4)
    assert np.allclose(ends[1], (ends[0] + ends[2]) / 2, atol=1e-4)


def test_a_black_background_stays_the_darkest():
    image = scan(3)
    image[:, :10] = -1.0
    moved = matched(
        image[0].astype(np.float32), quantiles(image)[0], quantiles(scan(4))[0], 1.0
    )
    assert moved[:10].max() <= moved[10:].min() + 1e-3


def crops(plan, kind, *, all_greys=False, **streams):
    plan = plan.model_copy(
        update={"intensities": (Intensity(kind=kind, cut=(0, 1), mean_std=(0, 1)),)}
    )
    drawn, _ = Sampler(Streams(**streams), plan, 0).read(5, all_greys=all_greys)
    return drawn.image[: plan.labelled_batch, :-1]


@pytest.mark.parametrize("kind", ["central", "zscore", "ct"])
def test_labelled_crops_borrow_from_other_scans(plan, monkeypatch, kind):
    """Where grey values are not calibrated; from unlabelled scans where that is asked.

    The labels stay.
    """
    known, stranger = prepared(0), prepared(9, labelled=False)
    stranger.__dict__["quantiles"] = quantiles(np.asarray(stranger.image)) + 50.0
    streams = {"labelled": (known,), "unlabelled": (stranger,) * 20}
    monkeypatch.setattr(sampling, "BORROWED", 0.0)
    plain = crops(plan, kind, **streams)
    monkeypatch.setattr(sampling, "BORROWED", 1.0)
    assert crops(plan, kind, **streams).max() < 20
    borrowed = crops(plan, kind, all_greys=True, **streams)
    assert (borrowed.max() > 20) == (kind != "ct")
    assert torch.isfinite(borrowed).all()
    assert plain.max() < 20
