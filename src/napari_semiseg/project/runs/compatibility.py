"""Check that a training can begin with the weights of an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.errors import SemisegError
from napari_semiseg.project.cases.channels import describe_channels, same_channels

if TYPE_CHECKING:
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.runs.run import Run


def why_incompatible(
    source: Run,
    config: TrainingConfig,
    labels: LabelScheme,
    channels: tuple[str, ...] | None,
) -> str | None:
    """Say why the networks of a run do not fit a training; None where they do.

    What the training leaves open (width, strides) is taken from the run, so only what
    is asked for, or given by the project, can differ. Voxel size and patch may.
    ``channels`` are those of the labelled cases; None where there is none yet.
    """
    try:
        plan, method = source.plan, source.config.method
    except SemisegError as error:
        return str(error)
    if plan is None or not source.has_model:
        return f"expected a trained model, found none (it is {source.status})"
    if method != config.method:
        return f"expected the method {config.method}, found {method}"
    if plan.classes and plan.classes != labels.values:
        return (
            f"expected the classes {_listed(labels.values)} of the project, found "
            f"{_listed(plan.classes)}"
        )
    if channels is not None and not same_channels(channels, plan.channels):
        return (
            f"expected {describe_channels(channels)}, found "
            f"{describe_channels(plan.channels)}"
        )
    if config.architecture != plan.architecture:
        return (
            f"expected the network architecture {config.architecture}, found "
            f"{plan.architecture}"
        )
    if config.width is not None and config.width != plan.width:
        return f"expected networks of width {config.width}, found {plan.width}"
    return None


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
