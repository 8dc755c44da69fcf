"""Train a few steps of some methods and say what the weights are; a child process.

``python train_child.py PROJECT NAME=CONFIG…``, each a training config as JSON. Run it
with the environment of ``test_same_weights.baseline``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import napari_semiseg as ss

if TYPE_CHECKING:
    from torch import Tensor

PLANNED = {
    *("spacing_mm", "patch_zyx", "strides", "width", "labelled_batch"),
    *("unlabelled_batch", "precision", "learning_rate", "steps", "sdm_limit_mm"),
}


def sha256(networks: dict[str, dict[str, Tensor]]) -> str:
    """Of all tensors in order; their names do not count."""
    found = hashlib.sha256()
    for _, state in sorted(networks.items()):
        for tensor in state.values():
            found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def train(project: ss.Project, config: ss.TrainingConfig) -> dict[str, Any]:
    """Losses of each step and the sums of the last checkpoint."""
    import torch

    events = list(ss.train(project, config))
    run = project.latest_run()
    assert run is not None
    assert run.plan is not None
    state = torch.load(run.folder.last, map_location="cpu", weights_only=True)
    return {
        "step": state["step"],
        "averaged": sha256(state["teachers"]),
        "raw": sha256(state["students"]),
        "losses": [
            {name: round(value, 5) for name, value in event.losses.items()}
            for event in events
            if isinstance(event, ss.events.Stepped)
        ],
        "plan": run.plan.model_dump(mode="json", include=PLANNED),
    }


def main() -> None:
    """One core, whatever the machine has; and kernels that every processor has."""
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.cpu_count = lambda: 1  # type: ignore[assignment]
    if os.environ.get("ONEDNN_MAX_CPU_ISA") == "SSE41":
        torch.backends.mkldnn.enabled = False  # its blocks follow the caches
    project = ss.Project.open(sys.argv[1])
    found = {}
    for word in sys.argv[2:]:
        name, _, text = word.partition("=")
        found[name] = train(project, ss.TrainingConfig(**json.loads(text)))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
