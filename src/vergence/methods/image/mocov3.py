"""An Empirical Study of Training Self-Supervised Vision Transformers (MoCo v3), arXiv:2104.02057."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import Clock, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather
from vergence.losses import info_nce
from vergence.methods.image.views import two_crops
from vergence.nets import Teacher, mlp
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.patches import sincos
from vergence.views.pixels.augment import View


class MoCoV3(Method):
    """Momentum contrast without a queue: each view finds the other view's key among the batch.

    Chen, Xie, He 2021, arXiv:2104.02057. Differs from the paper: views up to 64 pixels are not
    blurred. A convolutional encoder is taken as it comes; the paper then uses LARS and a
    temperature of 1.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``; a ViT's class token.
        dim: Width of the contrasted vectors.
        hidden: Width of the hidden layers of projector and predictor.
        temperature: Softmax temperature, above 0.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        crop: Least share of a photo's area in a view, in (0, 1].
        train_patches: Train a ViT's patch projection. The paper freezes it at its random start
            (Sec. 4.2): its gradients spike first where training is unstable.
        paper_start: Give a ViT the paper's weights and positions to start from; False keeps those
            it comes with, such as pretrained ones.
    """

    recipe = Recipe(
        optimizer="adamw", lr=2.4e-3, batch=4096, epochs=300, weight_decay=0.1, warmup=40,
        encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        dim: int = 256,
        hidden: int = 4096,
        temperature: float = 0.2,
        momentum: float = 0.99,
        crop: float = 0.08,
        train_patches: bool = False,
        paper_start: bool = True,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or not 0 <= momentum <= 1:
            raise ValueError(
                f"MoCoV3 needs temperature > 0 and momentum in [0, 1]; got {temperature} and {momentum}."
            )
        if paper_start:
            start_like_paper(encoder)
        patches = getattr(getattr(encoder, "model", encoder), "patch_embed", None)
        if patches is not None and not train_patches:
            patches.requires_grad_(False)  # out of the optimizer, so spared from weight decay too
        self.projector = mlp(encoder.out_dim, hidden, hidden, dim, last_norm=True, last_affine=False)
        self.predictor = mlp(dim, hidden, dim, last_norm=True, last_affine=False)  # of the queries only
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.crops = two_crops(image_size(encoder), scale=(crop, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
        self.temperature, self.momentum = temperature, momentum
        first_trained(encoder).register_hook(lambda g: self.watch("first_layer_gradient", g.norm()))

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crops = self.crops.with_options(options)

    def views(self, batch: ImageBatch) -> list[View]:
        return self.crops(batch)

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        if len(views[0]) < 2:
            raise ValueError(
                "MoCoV3 needs 2 or more samples a batch (batch norm); got 1. Raise --batch-size."
            )
        q1, q2 = (self.predictor(self.projector(self.encode(view))) for view in views)
        with torch.no_grad():
            k1, k2 = (gather(self.teacher(view)) for view in views)  # (M, dim), own rows first
        contrast = info_nce(q1, k2, temperature=self.temperature)
        contrast = contrast + info_nce(q2, k1, temperature=self.temperature)
        return {"contrast": 2 * self.temperature * contrast}  # 2τ: Algorithm 1

    def step_end(self, clock: Clock) -> None:
        self.teacher.follow(keep=clock.cosine(self.momentum, 1.0))


@torch.no_grad()
def start_like_paper(encoder: ImageEncoder) -> None:
    """Give a ViT fixed 2-D sine and cosine positions and Xavier-uniform weights, in place.

    Queries, keys and values are three matrices that happen to share one tensor: each gets the
    bound of its own shape. Encoders without patches are left alone.
    """
    vit: Any = getattr(encoder, "model", encoder)
    if not hasattr(vit, "patch_embed"):
        return
    for name, module in vit.named_modules():
        if isinstance(module, nn.Linear):
            parts = module.weight.chunk(3) if name.endswith("qkv") else [module.weight]
            for weight in parts:
                nn.init.xavier_uniform_(weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    projection = vit.patch_embed.proj
    nn.init.xavier_uniform_(projection.weight.view(len(projection.weight), -1))
    nn.init.zeros_(projection.bias)
    if (positions := getattr(vit, "pos_embed", None)) is not None:
        grid = int(positions.shape[1] ** 0.5)  # a class token's position, if any, comes first: none for it
        fixed = sincos(grid, positions.shape[2])
        positions.zero_()[:, -grid * grid :] = fixed
        positions.requires_grad_(False)


def first_trained(encoder: nn.Module) -> Tensor:
    """Return the weight of the first layer that is trained."""
    layers = (m for m in encoder.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    return next(layer.weight for layer in layers if layer.weight.requires_grad)
