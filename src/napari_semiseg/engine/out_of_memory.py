"""Turn a lack of memory into an error that says what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_semiseg.project.runs.run import Run

NO_MEMORY = "can't allocate memory"
"""Message of PyTorch for a processor's memory, which has no class of its own."""
NO_PRIMITIVE = "could not create a primitive"
"""Message of oneDNN, which PyTorch computes convolutions with."""


@contextmanager
def out_of_memory_advice(advice: Callable[[], str]) -> Iterator[None]:
    """Convert out-of-memory errors raised in the block into a `ConfigError`.

    Raises
    ------
    ConfigError
        Where PyTorch or numpy got no memory; ``advice()`` is its message.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        known = NO_MEMORY in str(error) or NO_PRIMITIVE in str(error)
        if not short and not known:
            raise
        raise ConfigError(advice()) from error


def training_advice(run: Run) -> str:
    """Say how to go on with a run that got no memory, or what to train instead."""
    return (
        f"run {run.id}: expected memory for the next step, found none left, though "
        f"there was enough when the training began; close other programs and go on "
        f"with semiseg resume, or train anew with a smaller --set patch_zyx=…"
        if run.has_model
        else f"run {run.id}: expected memory to train, found none left before the "
        f"first checkpoint; close other programs, or train again with a smaller "
        f"--set patch_zyx=… or --set width=8"
    )


def prediction_advice() -> str:
    """Say what to do where a prediction got no memory."""
    return (
        "expected memory for a prediction, found none left; close other programs and "
        "predict again"
    )
