"""Recipe: the training defaults of a paper, which the engine follows unless the user says otherwise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

LARGE_BATCH = 1024  # samples a step from which on LARS trains as the papers that take it say


@dataclass(frozen=True, slots=True)
class Recipe:
    """Training defaults of one method.

    Args:
        optimizer: Name of the optimizer.
        lr: Peak learning rate at a batch of ``batch`` samples, above 0.
        lr_scaling: How the rate follows the batch size that is really used.
        batch: Samples (not views) a step over all processes, at least 1.
        epochs: Passes over the data.
        momentum: Of SGD and LARS, in [0, 1).
        nesterov: Nesterov's momentum, for SGD.
        betas: Of Adam and AdamW.
        weight_decay: One value, or ``(start, end)`` along half a cosine. Biases, norms and what
            ``Method.no_decay`` names are spared.
        decay_vectors: Whether biases and norms (parameters of one dimension) decay too.
        schedule: Shape of the learning rate after warm-up.
        min_lr: Rate at which ``schedule="cosine"`` ends, scaled as ``lr`` is; at least 0. A lower peak stays.
        warmup: Epochs of linear warm-up.
        milestones: Shares of the run at which ``schedule="steps"`` multiplies the rate by ``gamma``.
        gamma: That factor.
        layer_decay: Each encoder layer's rate is this share of the next one's, in (0, 1].
        patch_rate: The rate of a transformer's patch embedding is this share of its layer's, in (0, 1].
        clip: Largest gradient norm, or None.
        val_share: Share of the samples that is held out of training, in [0, 1), for turns on "val" batches
            and for what a method judges itself by (``Method.held_out``).
        ema: Decay of the averaged copy of the encoder that is kept as the result, or None.
        small_batch_lr: Rate of the AdamW that ``for_small_batch`` takes in place of LARS.
        encoder: Backbone that the paper's idea is usually run with here; None lets the modality choose.
        size: Side of the image views in pixels; None lets the modality choose.
    """

    optimizer: Literal["sgd", "lars", "adam", "adamw"] = "adamw"
    lr: float = 1e-3
    lr_scaling: Literal["linear", "sqrt", "none"] = "linear"
    batch: int = 256
    epochs: int = 100
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float | tuple[float, float] = 0.0
    decay_vectors: bool = False
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    min_lr: float = 0.0
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    layer_decay: float = 1.0
    patch_rate: float = 1.0
    clip: float | None = None
    val_share: float = 0.0
    ema: float | None = None
    small_batch_lr: float = 2e-3
    encoder: str | None = None
    size: int | None = None

    def for_small_batch(self) -> Recipe:
        """Return the recipe for a batch below 1,024: AdamW where the paper scales LARS down linearly.

        A rate of LARS that was tuned for thousands of samples a step is too small for hundreds of them. The
        arms that were measured are in ``benchmarks/results/small_batches.json``. Other recipes stay.

        >>> Recipe(optimizer="lars", lr=4.8, batch=4096).for_small_batch().optimizer
        'adamw'
        """
        if (self.optimizer, self.lr_scaling) != ("lars", "linear"):
            return self
        rate = self.small_batch_lr
        return dataclasses.replace(
            self,
            optimizer="adamw",
            lr=rate,
            min_lr=rate * self.min_lr / self.lr,
            lr_scaling="none",
            weight_decay=1e-4,
            warmup=self.epochs / 10,
        )
