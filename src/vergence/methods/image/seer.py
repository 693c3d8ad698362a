"""Self-supervised Pretraining of Visual Features in the Wild (SEER), arXiv:2103.01988."""

from __future__ import annotations

from torch import nn

from vergence.core import BadInput, Recipe
from vergence.methods.image.swav import SwAV
from vergence.methods.image.views import local_side
from vergence.nets import mlp
from vergence.nets.image_encoder import image_size


class SEER(SwAV):
    """SwAV as it takes photos of the web that nobody chose, each of them once.

    Many prototypes, more rounds of balancing for them, a deep and wide projector without batch norm, and
    prototypes that wait for a number of steps, as one pass over a billion photos is but one epoch.

    Goyal, Caron, Lefaudeux, Xu, Wang, Pai, Singh, Liptchinsky, Misra, Joulin, Bojanowski 2021,
    arXiv:2103.01988. Differs from the paper: what ``SwAV`` says of views, decay and warm-up. The encoder is
    that of the data; the paper's are RegNetY, which timm has up to the largest: ``timm:regnety_008`` for a
    desk, ``timm:regnety_2560`` for 512 GPUs. A batch much smaller than the prototypes wants fewer of these,
    or a queue, which the paper does without at 8,192 photos a step.

    Args:
        encoder: Maps images ``(B, 3, S, S)``, of two sizes, to ``(B, D)`` or ``Features``.
        dim: Width of the prototypes.
        hidden: Width of the projector's two hidden layers.
        prototypes: K; at most about twice the rows that are assigned together.
        temperature: Of the predictions, above 0.
        assignment_temperature: ε, above 0; 0.03 for the ten billion parameters of arXiv:2202.08360.
        rounds: Of balancing, 1 or more.
        queue: Earlier photos that are assigned along with a batch, 0 or more.
        n_local: Local crops a photo.
        local_size: Their side in pixels; None takes the multiple of the patch nearest to 96/160 of the global
            side.
        global_scale: Share of a photo's area in the global crops.
        local_scale: Share of a photo's area in the local crops.
        freeze_steps: Steps for which the prototypes keep their random start, 0 or more.
    """

    recipe = Recipe(
        optimizer="lars", lr=9.6, batch=8192, epochs=1, weight_decay=1e-5, warmup=0.045, min_lr=9.6e-3
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 256,
        hidden: int = 8192,
        prototypes: int = 16_000,
        temperature: float = 0.1,
        assignment_temperature: float = 0.05,
        rounds: int = 10,
        queue: int = 0,
        n_local: int = 4,
        local_size: int | None = None,
        global_scale: tuple[float, float] = (0.14, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.14),
        freeze_steps: int = 313,
    ) -> None:
        if freeze_steps < 0:
            raise BadInput(f"SEER needs freeze_steps of 0 or more; got {freeze_steps}.")
        patch = getattr(encoder, "patch", 1)
        super().__init__(
            encoder,
            dim=dim,
            hidden=hidden,
            prototypes=prototypes,
            temperature=temperature,
            assignment_temperature=assignment_temperature,
            rounds=rounds,
            queue=queue,
            queue_start=0,
            n_local=n_local,
            local_size=local_size or local_side(image_size(encoder), patch, 96 / 160),
            global_scale=global_scale,
            local_scale=local_scale,
        )
        self.freeze_steps = freeze_steps

    @staticmethod
    def head(width: int, hidden: int, dim: int) -> nn.Module:
        return mlp(width, hidden, hidden, dim, norm=False)

    @property
    def prototypes_wait(self) -> bool:
        return self.clock.step < self.freeze_steps
