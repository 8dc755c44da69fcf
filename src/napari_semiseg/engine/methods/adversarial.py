"""Methods with a critic that tells labelled from unlabelled outputs."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from napari_semiseg.engine.lazy_torch import functional, torch
from napari_semiseg.engine.methods.base import forward
from napari_semiseg.engine.methods.dual_task import ConsistencyParams, DualTaskMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.spec import Output


class AdversarialMethod(DualTaskMethod):
    """The network makes a critic take its unlabelled outputs for labelled ones."""

    params: ConsistencyParams

    @abstractmethod
    def critic_input(self, output: Output) -> Tensor:
        """Maps (B, C, Z, Y, X) that the critic sees beside the image."""

    def critics(self) -> dict[str, nn.Module]:
        """One critic of the maps and the image."""
        from napari_semiseg.engine.networks.blocks import Critic

        seen = self.task.classes + self.task.channels
        return {"critic": Critic(seen, 2 * self.task.width)}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and the critic's doubt on unlabelled crops."""
        output = forward(nets.students["student"], batch.image)
        unlabelled = batch.unlabelled
        verdict = nets.critics["critic"](
            self.critic_input(output)[unlabelled], batch.image[unlabelled]
        )
        return {
            **self.labelled(output, batch),
            "adversarial": self.params.weight(t)
            * functional.binary_cross_entropy_with_logits(
                verdict, torch.ones_like(verdict)
            ),
        }

    def critic_loss(self, nets: Networks, batch: Batch) -> Tensor:
        """Cross-entropy of labelled (1) against unlabelled crops (0)."""
        student = nets.students["student"]
        student.eval()
        with torch.no_grad():
            maps = self.critic_input(forward(student, batch.image))
        verdict = nets.critics["critic"](maps, batch.image)
        truth = torch.zeros_like(verdict)
        truth[: batch.labelled] = 1.0
        return functional.binary_cross_entropy_with_logits(verdict, truth)
