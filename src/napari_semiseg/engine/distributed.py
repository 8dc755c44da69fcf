"""The processes of a training on several devices, one a device: its ranks."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed

from napari_semiseg.core.text import duration
from napari_semiseg.errors import ENDED, SILENT, ConfigError, RankLost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

PATIENCE = timedelta(days=2)
"""How long ranks wait for the first one, which may prepare for hours. One that has
ended is noticed at once, by its closed connection."""
STEP_SECONDS = 600.0
"""How long they wait for each other in the training loop: one that does not answer is
frozen, or its computer is off."""
TIMEOUT = "SEMISEG_RANK_TIMEOUT"
"""Variable with another number of seconds."""
KEPT = "the last checkpoint is good: go on with semiseg resume"
PREDICTING = 12
"""How many times as long where each predicts cases of its own."""
FIRST_PORT, PORTS = 20_000, 20_000
"""Where ranks that SLURM has started meet: a port by the number of the job."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among those that train together.

    Each rank computes the gradients of its share of a batch; their mean moves the same
    weights everywhere. No wrapper around the networks: methods call their parts apart.

    Attributes
    ----------
    rank, size : int
        Number of this process, and of all.
    local : int
        Number of this process on its machine, which names its GPU.
    group : ProcessGroup, optional
        By which gradients travel, and the news between two steps.
    steps : ProcessGroup, optional
        The same for what is no tensor on a GPU; one of minutes.
    predictions : ProcessGroup, optional
        By which ranks wait for the predictions of each other; one of hours.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    group: distributed.ProcessGroup | None = None
    steps: distributed.ProcessGroup | None = None
    predictions: distributed.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this one plans, looks for labels, logs and saves for all."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def share(self, items: Sequence[T]) -> list[T]:
        """List every ``size``-th item from this rank's on."""
        return list(items[self.rank :: self.size])

    def shared(self, value: T, *, prepares: bool = False) -> T:
        """Return the value of the first rank; those of the others do not count.

        With ``prepares`` they wait for it for days, else for minutes.
        """
        if self.alone:
            return value
        box = [value]
        with _peers():
            group = None if prepares else self.steps
            distributed.broadcast_object_list(box, src=0, group=group)
        return box[0]

    def gathered(self, value: T) -> list[T]:
        """List the values of all ranks, in their order, on each of them.

        They wait for each other for as long as a prediction may take.
        """
        if self.alone:
            return [value]
        found = [value] * self.size
        with _peers():
            distributed.all_gather_object(found, value, group=self.predictions)
        return found

    def average(
        self,
        parameters: Sequence[nn.Parameter],
        values: Sequence[Tensor],
        numbers: Sequence[float] = (),
    ) -> list[float]:
        """Replace gradients and values by their means over all ranks, as one bucket.

        A gradient that no rank has stays None, so that nothing moves its weights.

        Parameters
        ----------
        parameters : sequence of Parameter
            Whose gradients are averaged.
        values : sequence of Tensor
            Averaged in place, such as the statistics of a normalisation.
        numbers : sequence of float
            Their means are returned; they travel in the same bucket.
        """
        if self.alone:
            return list(numbers)
        gradients = [parameter.grad for parameter in parameters]
        has = [float(gradient is not None) for gradient in gradients]
        parts = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]
        parts += [*values, parameters[0].new_tensor([*has, *numbers])]
        bucket = torch.cat([part.detach().reshape(-1).float() for part in parts])
        with _peers():
            distributed.all_reduce(bucket, group=self.group or self.steps)
        means = [
            mean.view_as(part)
            for mean, part in zip(
                torch.split(bucket / self.size, [part.numel() for part in parts]),
                parts,
                strict=True,
            )
        ]
        averages: list[float] = means[-1].tolist()
        for at, parameter in enumerate(parameters):
            parameter.grad = means[at].to(parameter.dtype) if averages[at] else None
        with torch.no_grad():
            for value, mean in zip(values, means[len(has) : -1], strict=True):
                value.copy_(mean)
        return averages[len(has) :]


ALONE = Ranks()
"""A training in one process."""


@contextmanager
def _peers() -> Iterator[None]:
    """Say in one line that another rank has ended, or does not answer."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        silent = "timed out" in text or "timeout" in text
        raise RankLost(
            "expected all processes of this training to go on, found that another one "
            f"{describe_end(SILENT if silent else ENDED)}",
            SILENT if silent else ENDED,
        ) from error


def describe_end(code: int) -> str:
    """Say what has become of the other rank, and what to do."""
    if code == SILENT:
        found = (
            f"has not answered for {duration(step_seconds())} (it is frozen, or its "
            "computer is off)"
        )
    else:
        found = "has ended"
    return f"{found}; {KEPT}"


def step_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """How long ranks wait for each other between two steps, s.

    Raises
    ------
    ConfigError
        The variable for it holds no time.
    """
    text = environment.get(TIMEOUT) or str(STEP_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= PATIENCE.total_seconds():
        raise ConfigError(
            f"expected {TIMEOUT} with seconds, up to two days, found {text!r}; set "
            "another one, or none"
        )
    return seconds


def join(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Join the other processes of a training that torchrun or srun has started.

    Returns the same in all calls; a process that was started by itself is alone.

    Raises
    ------
    ProjectError
        The others cannot be reached.
    """
    rank, size, local, meeting = _place(environment)
    if size == 1:
        return ALONE
    if not distributed.is_available():
        raise ConfigError(
            f"expected a PyTorch with torch.distributed for {size} processes, found "
            f"{torch.__version__} without it; install another, or train with one"
        )
    if not distributed.is_initialized():
        with _peers():
            distributed.init_process_group(
                "gloo",
                init_method=meeting,
                rank=rank,
                world_size=size,
                timeout=PATIENCE,
            )
    return Ranks(rank, size, local, None, *_groups(step_seconds()))


@cache
def _groups(
    seconds: float,
) -> tuple[distributed.ProcessGroup, distributed.ProcessGroup]:
    """Make the groups of the training loop, once a process: its steps, predictions."""
    with _peers():
        distributed.barrier()  # with patience, since they start at different times
    steps, predictions = (
        distributed.new_group(backend="gloo", timeout=timedelta(seconds=patience))
        for patience in (seconds, PREDICTING * seconds)
    )
    return steps, predictions


def _place(environment: Mapping[str, str]) -> tuple[int, int, int, str]:
    """Read rank, size, local rank, and where the ranks meet."""
    torchrun = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    slurm = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
    if "RANK" in environment and "MASTER_ADDR" in environment:
        names, meeting = torchrun, "env://"
    elif "SLURM_STEP_ID" in environment and "SLURM_LAUNCH_NODE_IPADDR" in environment:
        # Started by srun: a batch script of its own has no step.
        names = slurm
        port = FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % PORTS
        meeting = f"tcp://{environment['SLURM_LAUNCH_NODE_IPADDR']}:{port}"
    else:
        return 0, 1, 0, ""
    rank, size, local = (int(environment.get(name, "0")) for name in names)
    return rank, max(1, size), local, meeting


def place(ranks: Ranks, device: torch.device) -> tuple[Ranks, torch.device]:
    """Give a rank its own GPU, and the group by which GPUs talk."""
    if device.type != "cuda":
        return ranks, device
    if device == torch.device("cuda") and not ranks.alone:
        # SLURM may show each rank its own GPU alone.
        device = torch.device("cuda", ranks.local % torch.cuda.device_count())
    torch.cuda.set_device(device)
    if ranks.alone:
        return ranks, device
    # Without it a rank that waits in vain is aborted, in place of an error.
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    patience = timedelta(seconds=step_seconds())
    group = distributed.new_group(backend="nccl", timeout=patience)
    return replace(ranks, group=group), device
