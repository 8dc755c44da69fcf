"""Processes that train together on this machine, as torchrun starts them."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import socket
import traceback
from typing import TYPE_CHECKING, Any

import torch

from napari_semiseg.engine.distributed import join

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.engine.training.checkpoint import Checkpoint


def in_ranks(work: Callable[..., Any], *arguments: object, size: int = 2) -> list[Any]:
    """What ``work(ranks, *arguments)`` returns in each of so many forked processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    ends, children = [], []
    for rank in range(size):
        ours, theirs = fork.Pipe()
        place = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        child = fork.Process(target=_work, args=(theirs, place, work, arguments))
        child.start()
        theirs.close()
        ends.append(ours)
        children.append(child)
    try:
        found = [end.recv() for end in ends]
    finally:
        for child in children:
            child.join(60)
            child.kill()
    for result in found:
        if isinstance(result, str) and result.startswith("Traceback"):
            raise AssertionError(result)
    return found


def _work(end: Any, place: dict[str, str], work: Any, arguments: tuple[Any]) -> None:
    os.environ.update(place)
    torch.set_num_threads(1)
    try:
        end.send(work(join(), *arguments))
    except BaseException:  # noqa: BLE001, whatever it was is shown
        end.send(traceback.format_exc())
    end.close()
    torch.distributed.destroy_process_group()
    os._exit(0)


def digest(state: Checkpoint) -> str:
    """SHA-256 of weights, buffers, critics and averages."""
    found = hashlib.sha256()
    for networks in (state.students, state.teachers, state.critics):
        for name, tensors in sorted(networks.items()):
            found.update(name.encode())
            for tensor in tensors.values():
                found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
