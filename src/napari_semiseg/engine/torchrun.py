"""Start a verb in one process a device of this machine, by PyTorch's torchrun."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.engine import devices
from napari_semiseg.engine.distributed import KEPT, describe_end
from napari_semiseg.engine.methods import registry
from napari_semiseg.errors import ENDED, LAUNCHED, SILENT, ConfigError, ProjectError
from napari_semiseg.project.runs.process import SESSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.plan import Plan

ALL = "all"


def count_devices(asked: str, device: str) -> int:
    """Count the processes for ``--devices``: a number, or "all" GPUs that are there.

    Raises
    ------
    ConfigError
        It is neither, or there are fewer GPUs.
    """
    kind = devices.choose(device)
    names = [info.name for info in devices.describe_devices()]
    gpus = sum(name.startswith("cuda") for name in names)
    if asked == ALL:
        return max(1, gpus) if kind.type == "cuda" else 1
    if not asked.isascii() or not asked.isdigit() or int(asked) < 1:
        raise ConfigError(f"expected --devices with a number or all, found {asked!r}")
    count = int(asked)
    if kind.index is not None and count > 1:
        raise ConfigError(
            f"expected --device cuda for {count} devices, found {device!r}, which is "
            "one of them"
        )
    if (kind.type == "cuda" and count > gpus) or (kind.type == "mps" and count > 1):
        raise ConfigError(
            f"expected {count} GPUs, found {max(1, gpus)} here; use --devices all"
        )
    return count


def check_batches(
    config: TrainingConfig, devices: int, plan: Plan | None = None
) -> None:
    """Refuse a training whose batches so many devices cannot share.

    Parameters
    ----------
    plan : Plan, optional
        Of a run that goes on; its batches are fixed.

    Raises
    ------
    ConfigError
        A batch is no multiple of them, or a setting does not fit the method.
    """
    kind = registry.check(config)
    registry.check_shares(config if plan is None else plan, devices, kind)


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run ``semiseg`` with these arguments in so many processes; returns at the end.

    They outlive no request to stop: a signal to this process goes on to them. What
    all but the first one print is dropped, but for the error that ended all of them.

    Returns
    -------
    int
        Exit code of the first one, which has said why, or 0.

    Raises
    ------
    ProjectError
        One of them was killed, does not answer, or has failed without the first one.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # A stop that comes before the first one works on its run is meant for it.
    os.environ.setdefault(SESSION, uuid.uuid4().hex)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, devices.cores() // count)))
    os.environ[LAUNCHED] = "1"
    with tempfile.TemporaryDirectory() as logs:
        options = [
            "--standalone",
            f"--nproc-per-node={count}",
            "--local-ranks-filter=0",
            f"--redirects={','.join(f'{rank}:2' for rank in range(1, count))}",
            f"--log-dir={logs}",
            *("-m", "napari_semiseg"),
        ]
        try:
            run(parse_args([*options, *arguments]))  # type: ignore[no-untyped-call]
        except SignalException:
            return 130
        except ChildFailedError as error:
            codes = {rank: one.exitcode for rank, one in error.failures.items()}
            rank, code = _cause(codes)
            if code not in (ENDED, SILENT) and code > 0:
                if rank == 0:
                    return code
                raise ProjectError(_last_line(error.failures[rank])) from error
            if code < 0:
                found = f"number {rank} was killed by signal {-code}; {KEPT}"
            else:
                found = f"another one than number {rank} {describe_end(code)}"
            raise ProjectError(
                f"expected {count} processes to train to the end, found that {found}"
            ) from error
    return 0


def _cause(codes: dict[int, int]) -> tuple[int, int]:
    """Choose the rank that ended the others, by all exit codes; and its code.

    Those that have lost it say so. One that does not answer is killed at last, which is
    no cause; nor is the signal by which torchrun ends the others.
    """

    def weight(item: tuple[int, int]) -> int:
        code = item[1]
        if code == SILENT:
            return 0
        if code in (ENDED, -signal.SIGTERM):
            return 3
        return 1 if code < 0 else 2

    return min(codes.items(), key=weight)


def _last_line(failure: ProcessFailure) -> str:
    """Read what a rank has said at last."""
    output = Path(failure.error_file).with_name("stderr.log")
    lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
    text = [line.strip() for line in lines if line.strip()][-1:]
    ended = f"number {failure.local_rank} ended with code {failure.exitcode}; {KEPT}"
    return (text or [ended])[0].removeprefix("semiseg: ")
