"""Begin with the weights of an earlier model: shrink and perturb.

J. T. Ash, R. P. Adams. On warm-starting neural network training. NeurIPS 2020: networks
that go on from earlier weights learn new data less well than fresh ones, unless the
weights are shrunk towards 0 and a little noise is added (Section 4).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch

from napari_semiseg.errors import ConfigError
from napari_semiseg.project.runs.compatibility import why_incompatible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.data.cache import PreparedCohort
    from napari_semiseg.engine.methods.base import Networks
    from napari_semiseg.engine.training.checkpoint import Checkpoint
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

ADVICE = "choose another run, or train from scratch"


def find_source(
    project: Project, config: TrainingConfig, cohort: PreparedCohort
) -> Run | None:
    """Find the run to begin with; None for a training from scratch.

    Raises
    ------
    ProjectError
        There is no such run.
    ConfigError
        Its networks do not fit; says what differs.
    """
    if config.start_from is None:
        return None
    source = project.run(config.start_from)
    channels = cohort.labelled[0].channel_names  # as the plan takes them
    reason = why_incompatible(source, config, project.labels, channels)
    if reason is not None:
        raise ConfigError(f"run {source.id!r} cannot be begun with: {reason}; {ADVICE}")
    return source


def with_levels_of(plan: Plan, source: Run, config: TrainingConfig) -> Plan:
    """Give the plan the strides and kernels of a run, and a patch that fits.

    Raises
    ------
    ConfigError
        The patch that is asked for does not fit.
    """
    known = source.plan
    assert known is not None
    steps = [prod(stride[axis] for stride in known.strides) for axis in range(3)]
    patch = _divisible(plan.patch_zyx, steps)
    if config.patch_zyx is not None and patch != plan.patch_zyx:
        raise ConfigError(
            f"run {source.id!r} cannot be begun with: expected patch_zyx to be a "
            f"multiple of its strides {tuple(steps)}, found {plan.patch_zyx}; change "
            f"patch_zyx or train from scratch"
        )
    reasons = {**plan.reasons, "strides": f"those of {source.id}, its first weights"}
    return plan.model_copy(
        update={
            "strides": known.strides,
            "kernels": known.kernels,
            "patch_zyx": patch,
            "reasons": reasons,
        }
    )


def _divisible(patch: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """Round the patch to sizes that strides divide, hardly larger than it was."""
    fit = [
        step * max(1, round(size / step))
        for size, step in zip(patch, steps, strict=True)
    ]
    while prod(fit) > 1.05 * prod(patch):
        grown = [axis for axis in range(3) if fit[axis] > max(patch[axis], steps[axis])]
        if not grown:
            break
        axis = max(grown, key=lambda axis: fit[axis] / patch[axis])
        fit[axis] -= steps[axis]
    return tuple(fit)


@torch.no_grad()
def shrink_and_perturb(
    networks: Networks,
    followed: Mapping[str, str],
    saved: Checkpoint,
    config: TrainingConfig,
) -> None:
    """Set weights to shrink * earlier + perturb * fresh ones.

    Normalisation keeps its scales, which make up for the size of the weights, and its
    statistics follow that size. Critics stay as they are. ``followed`` names the
    student of each averaged copy.

    Raises
    ------
    ConfigError
        The networks are not alike.
    """
    for name, network in networks.students.items():
        earlier = saved.students.get(name, {})
        initial = {key: value.clone() for key, value in network.state_dict().items()}
        if {key: value.shape for key, value in earlier.items()} != {
            key: value.shape for key, value in initial.items()
        }:
            raise ConfigError(
                f"run {config.start_from!r} cannot be begun with: expected the same "
                f"layers, found others in {name!r}; {ADVICE}"
            )
        network.load_state_dict(earlier)
        normalising = set(network.norm_layers())
        for path, module in network.named_modules():
            if module in normalising:
                statistics = dict(module.named_buffers(recurse=False))
                if "running_mean" in statistics:
                    statistics["running_mean"].mul_(config.shrink)
                    statistics["running_var"].mul_(config.shrink**2)
                continue
            for key, weight in module.named_parameters(recurse=False):
                noise = config.perturb * initial[f"{path}.{key}".lstrip(".")]
                weight.mul_(config.shrink).add_(noise)
    for name, teacher in networks.teachers.items():
        teacher.load_state_dict(networks.students[followed[name]].state_dict())
