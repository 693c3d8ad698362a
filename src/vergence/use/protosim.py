"""Prototype-based Dataset Comparison.

van Noord 2023 (ICCV), arXiv:2309.02401.

What do collections of images share, and what is in one of them only? Every token x of a frozen encoder
(class token and patches) is replaced by one of K learned prototypes P,

    a = P xᵀ,  x ← onehot-Gumbel-softmax_K(a)ᵀ P,

so that all an image says goes through its prototypes; one more transformer block makes a vector of them,
and DINO's loss on the union of the collections teaches P (Sec. 3). Then the prototypes of all tokens are
counted a collection: one that nearly all its tokens come from is a concept of that collection alone.

Differs from the paper: tokens are brought to mean 0 and variance 1 first, so that convolutional encoders
can be looked at too. As in the released code, the teacher stays soft when the student becomes hard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax, layer_norm, one_hot

from vergence.core import BadInput, Clock, Features, Method, Recipe, input_spec
from vergence.data import Source
from vergence.engine import embed
from vergence.engine.distributed import mean_over_processes
from vergence.losses.distill import centred, dino
from vergence.nets import PrototypeHead, Teacher


class Prototypes(nn.Module):
    """Replace tokens ``(B, T, D)`` by prototypes and read the result with one block of attention.

    Args:
        dim: D.
        count: K.
        temperature: Of the Gumbel-softmax, above 0.

    Attributes:
        hard: Choose one prototype a token while training; its gradient stays that of the softmax.
        noisy: Add Gumbel noise while training.
    """

    def __init__(self, dim: int, count: int, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.rand(count, dim))
        self.block = nn.TransformerEncoderLayer(
            dim, 1, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(dim)
        self.temperature, self.hard, self.noisy = temperature, False, True

    def scores(self, tokens: Tensor) -> Tensor:
        """Return how much each token is like each prototype, ``(B, T, K)``."""
        return tokens @ self.prototypes.T

    def forward(self, tokens: Tensor, *, training: bool) -> Tensor:
        """Return the vector ``(B, D)``; without ``training`` every token takes its best prototype."""
        scores = self.scores(tokens)
        if not training:
            chosen = one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)
        elif self.noisy:
            chosen = gumbel_softmax(scores.float(), self.temperature, self.hard).to(scores.dtype)
        else:
            soft = chosen = torch.softmax(scores / self.temperature, -1)
            if self.hard:
                chosen = one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype) - soft.detach() + soft
        return self.norm(self.block(chosen @ self.prototypes)[:, 0])


class ProtoEncoder(nn.Module):
    """A frozen encoder whose tokens go through prototypes; answers with ``Features``.

    Args:
        backbone: Answers with ``Features`` that have tokens; it is frozen.
        count: K.
        temperature: Of the Gumbel-softmax.
    """

    def __init__(self, backbone: nn.Module, count: int, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.out_dim: int = backbone.out_dim  # type: ignore[assignment]
        self.input_spec = input_spec(backbone)
        self.through = Prototypes(self.out_dim, count, temperature=temperature)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def tokens(self, images: Any) -> Tensor:
        """Return what the backbone sees, pooled vector first: ``(B, 1 + N, D)``, each of variance 1."""
        seen = self.backbone(images)
        if not isinstance(seen, Features) or seen.tokens is None:
            raise BadInput(f"{type(self.backbone).__name__} has no tokens; choose another encoder.")
        tokens = torch.cat([seen.pooled[:, None], seen.tokens], 1)
        return layer_norm(tokens, tokens.shape[-1:])

    def assign(self, images: Any) -> Tensor:
        """Return the prototype of every token, ``(B, 1 + N)``."""
        return self.through.scores(self.tokens(images)).argmax(-1)

    def forward(self, images: Any) -> Features:
        return Features(self.through(self.tokens(images), training=self.training))


class ProtoSim(Method):
    """Learn prototypes of all that several collections show; see the module.

    Args:
        encoder: Frozen; answers with ``Features`` that have tokens.
        prototypes: K.
        outputs: Width of DINO's head.
        hidden: Width of the head's hidden layers.
        bottleneck: Width in front of its outputs.
        temperature: Of the Gumbel-softmax, above 0.
        noise: Gumbel noise on the choice; without it few prototypes come into use.
        hard_from: Share of the run from which each token takes a single prototype; 1 stays soft.
        student_temperature: Above 0.
        teacher_temperature: Above 0.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        freeze_head: Epochs for which the head's last layer keeps its random start.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=20, weight_decay=(0.04, 0.4), warmup=10, clip=3.0,
        encoder="vit-small32",
    )  # fmt: skip
    views = "crops"
    encoder: ProtoEncoder
    centre: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        prototypes: int = 8192,
        outputs: int = 65_536,
        hidden: int = 2048,
        bottleneck: int = 256,
        temperature: float = 1.0,
        noise: bool = True,
        hard_from: float = 0.75,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        momentum: float = 0.996,
        freeze_head: int = 1,
    ) -> None:
        if min(temperature, student_temperature, teacher_temperature) <= 0 or prototypes < 2:
            raise BadInput(
                f"ProtoSim needs temperatures above 0 and 2 or more prototypes; got {temperature}, "
                f"{student_temperature}, {teacher_temperature} and {prototypes}."
            )
        super().__init__(ProtoEncoder(encoder, prototypes, temperature=temperature))
        self.head = PrototypeHead(self.encoder.out_dim, outputs, hidden=hidden, bottleneck=bottleneck)
        self.encoder.through.noisy = noise
        self.teacher, self.teacher_head = Teacher(self.encoder.through), Teacher(self.head)
        self.hard_from, self.momentum, self.freeze_head = hard_from, momentum, freeze_head
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.register_buffer("centre", torch.zeros(outputs))

    def loss(self, views: Any) -> dict[str, Tensor]:
        self.head.frozen = self.clock.epoch < self.freeze_head
        through = self.encoder.through
        through.hard = self.clock.progress >= self.hard_from
        whole, b = self.encoder.tokens(torch.cat([view.pixels for view in views[:2]])), len(views[0])
        scores = list(self.head(through(whole, training=True)).split(b))
        if len(views) > 2:
            parts = self.encoder.tokens(torch.cat([view.pixels for view in views[2:]]))
            scores += self.head(through(parts, training=True)).split(b)
        logits = self.teacher_head(self.teacher(whole, training=True))
        targets = centred(logits, self.centre, temperature=self.teacher_temperature).chunk(2)
        self.centre.lerp_(mean_over_processes(logits.float().mean(0)), 0.1)
        return {"dino": dino(scores, targets, temperature=self.student_temperature)}

    def step_end(self, clock: Clock) -> None:
        keep = clock.cosine(self.momentum, 1.0)
        self.teacher.follow(keep)
        self.teacher_head.follow(keep)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which prototypes the tokens of each collection are.

    Args:
        names: Of the S collections.
        counts: ``(S, K)`` int64 tokens.
        assigned: One ``(n, T)`` array of prototypes a collection; the first column is the whole image's.
        index: One ``(n,)`` array a collection: rows of its source.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    assigned: tuple[np.ndarray, ...]
    index: tuple[np.ndarray, ...]

    @property
    def shares(self) -> np.ndarray:
        """``(S, K)``, each prototype's use by collection as if all were equally large; NaN if unused."""
        rates = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        with np.errstate(invalid="ignore"):
            return rates / rates.sum(0)

    def of(self, which: int, *, above: float = 0.9, least: int = 20) -> np.ndarray:
        """Return the prototypes of a collection alone, the most used first.

        Args:
            which: Number of the collection.
            above: Share of the use that is its own, at least.
            least: Tokens that a prototype needs to be counted at all.
        """
        shares = np.nan_to_num(self.shares[which])
        prototypes = np.flatnonzero((shares >= above) & (self.counts.sum(0) >= least))
        return prototypes[np.argsort(-self.counts[which, prototypes], kind="stable")]

    def shared(self, *, above: float = 0.9, least: int = 20) -> np.ndarray:
        """Return the prototypes that no collection has to itself, the most used first."""
        shares = np.nan_to_num(self.shares.max(0), nan=1.0)
        prototypes = np.flatnonzero((shares < above) & (self.counts.sum(0) >= least))
        return prototypes[np.argsort(-self.counts[:, prototypes].sum(0), kind="stable")]

    def examples(self, which: int, prototype: int, count: int = 8) -> np.ndarray:
        """Return rows of a collection's source whose images have most tokens of a prototype."""
        tokens = (self.assigned[which] == prototype).sum(1)
        best = np.argsort(-tokens, kind="stable")[:count]
        return self.index[which][best[tokens[best] > 0]]


def compare(encoder: ProtoEncoder, sources: Sequence[Source], names: Sequence[str]) -> Comparison:
    """Count the prototypes of the tokens of several collections.

    Args:
        encoder: Of a trained ``ProtoSim``.
        sources: The collections, of images.
        names: One each.
    """
    if len(sources) < 2 or len(sources) != len(names):
        raise BadInput(f"Two or more collections, each with a name, are compared; got {len(sources)}.")
    assignments = [embed(encoder, source, read=encoder.assign) for source in sources]
    assigned = tuple(part.vectors.astype(np.int32) for part in assignments)
    count = len(encoder.through.prototypes)
    counts = np.stack([np.bincount(part.ravel(), minlength=count) for part in assigned])
    return Comparison(tuple(names), counts, assigned, tuple(part.index for part in assignments))
