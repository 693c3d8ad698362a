"""Self-Supervised Learning in Event Sequences: A Comparative Study and Hybrid Approach of Generative Modeling and Contrastive Learning, arXiv:2401.15935."""  # noqa: E501

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from vergence.core import BadInput, Method, Recipe
from vergence.data.events import EventBatch
from vergence.engine.distributed import gather
from vergence.losses.margin import hard_margin
from vergence.methods.events.encoders import EventEncoder, padded, positions
from vergence.methods.events.views import LONGEST, SHORTEST, Slices
from vergence.nets import mlp, width_of


class MLEM(Method):
    """A history's vector rebuilds its events one by one and agrees with a contrastive vector of it.

    Moskvoretskii et al. 2024, arXiv:2401.15935. The three steps of the paper are one run: in its first
    half a contrastive encoder (CoLES) and the generative one are trained side by side, each by its own
    loss; then the contrastive one is frozen and the generative one goes on with the alignment added. With a
    ``target`` that has learned before, such as the encoder of a CoLES run, the whole run aligns to it, as in
    the paper. Differs from the paper: without a target that one run, and the alignment starts from the
    generative encoder of the first half, not afresh; slices in place of whole histories, of which those of
    one client are no negatives of each other; numbers are scaled by the statistics of the training events;
    no dropout.

    Args:
        encoder: An event encoder, ``(B, D)``; the paper's is a GRU of 512 with categories of width 32.
        slices: Of each client in a batch, K, 2 or more.
        shortest: Events of the shortest slice; None suits the data, as CoLES does.
        longest: Events of the longest slice.
        margin: Of the contrastive loss, in (0, 2].
        negatives: Nearest slices of other clients that each slice is pushed from.
        projection: Width of the contrasted vectors.
        width: Of the decoder, divided by its 2 heads.
        depth: Blocks of the decoder.
        smoothing: Of the categories' labels, in [0, 1).
        gap_weight: Of the squared error of the time gaps.
        l1: Weight of the embedding's sum of absolute values, ‖h‖₁.
        align: Weight of the alignment.
        alone: Share of the run without alignment, in [0, 1), while the contrastive encoder learns.
        target: A contrastive encoder that has learned already, ``(B, D)`` as wide as the encoder's; it stays
            as it is, and ``alone``, ``margin``, ``negatives`` and ``projection`` are idle.
    """

    recipe = Recipe(
        optimizer="adamw", lr=3e-3, lr_scaling="none", batch=64, epochs=100, weight_decay=1e-3, encoder="gru"
    )
    find_unused_parameters = True

    def __init__(
        self,
        encoder: nn.Module,
        *,
        slices: int = 5,
        shortest: int | None = None,
        longest: int = LONGEST,
        margin: float = 0.87,
        negatives: int = 5,
        projection: int = 64,
        width: int = 128,
        depth: int = 3,
        smoothing: float = 0.05,
        gap_weight: float = 10.0,
        l1: float = 1e-3,
        align: float = 10.0,
        alone: float = 0.5,
        target: nn.Module | None = None,
    ) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, EventEncoder):
            raise BadInput(
                f"MLEM rebuilds fields of events: it needs an event encoder, not {type(encoder).__name__}."
            )
        if slices < 2 or not 0 <= alone < 1:
            raise BadInput(f"MLEM needs 2 or more slices and alone in [0, 1); got {slices} and {alone}.")
        self.slices, self.shortest, self.longest = slices, shortest, longest
        self.margin, self.negatives, self.smoothing = margin, negatives, smoothing
        self.gap_weight, self.l1, self.align, self.alone = gap_weight, l1, align, alone
        self.cut = Slices(slices, shortest=shortest or SHORTEST, longest=max(shortest or SHORTEST, longest))
        dim = width_of(encoder)
        if target is not None and width_of(target) != dim:
            raise BadInput(
                f"MLEM aligns vectors of {dim} to a target's; it needs as many, not {width_of(target)}."
            )
        self.trained = target is not None
        self.contrastive: nn.Module = copy.deepcopy(encoder) if target is None else copy.deepcopy(target)
        self.contrastive.requires_grad_(not self.trained)
        self.projector = None if self.trained else mlp(dim, dim, projection)
        self.norm = nn.LayerNorm(dim)
        self.decoder = Decoder(encoder, dim, width, depth)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))  # t' with t = exp(t'), t = 10 at first
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def configure_views(self, options: Mapping[str, Any]) -> None:
        if self.shortest is None:
            shortest = int(options.get("shortest", SHORTEST))
            self.cut = Slices(self.slices, shortest=shortest, longest=max(shortest, self.longest))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.trained:
            self.contrastive.eval()
        return self

    def views(self, batch: EventBatch) -> EventBatch:
        return self.cut(batch)  # the same slices for all three parts

    def loss(self, views: EventBatch) -> dict[str, Tensor]:
        h = self.norm(self.encode(views).float())
        errors = self.decoder.errors(self.encoder, h, views, self.smoothing)  # type: ignore[arg-type]
        terms = {**errors, "l1": self.l1 * h.abs().sum(1).mean()}
        terms["gap"] = self.gap_weight * terms["gap"]
        learning = self.projector is not None and self.clock.progress < self.alone
        client = gather(views.index)  # own rows first
        if learning:
            assert self.projector is not None
            z = gather(normalize(self.projector(self.contrastive(views)).float(), dim=1))
            near, far = hard_margin(z, client, margin=self.margin, negatives=self.negatives)
            terms |= {"near": near, "far": far}
        with torch.no_grad():  # the alignment must not move what it aligns to
            c = self.contrastive(views).float()
        weight = 0.0 if learning else self.align
        same = views.index[:, None] == client
        terms["align"] = weight * alignment(h, gather(c), self.log_scale.exp(), self.bias, same)
        return terms


class Decoder(nn.Module):
    """Rebuilds a history from its vector: each event from the start token and the true events before it.

    Args:
        encoder: Whose fields are rebuilt, in its codes and scales.
        dim: Of the history's vector.
        width: Of the blocks.
        depth: Number of blocks.
    """

    def __init__(self, encoder: EventEncoder, dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.start = nn.Linear(dim, width)
        self.inputs = nn.Linear(encoder.width, width)
        block = nn.TransformerDecoderLayer(
            width, 2, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerDecoder(block, depth, nn.LayerNorm(width))
        self.categories = nn.ModuleList(nn.Linear(width, n + 2) for n in encoder.categories.values())
        self.numbers = nn.Linear(width, len(encoder.numbers) + 1)  # the gap is the last
        self.width = width

    def states(self, h: Tensor, events: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each event is rebuilt from, ``(B, T, width)``, and where there are any, ``(B, T)``.

        Args:
            h: ``(B, dim)``, the histories' vectors.
            events: ``(N, D)``, the encoder's event vectors.
            offsets: ``(B + 1,)`` int64, where each history begins.
        """
        start = self.start(h)[:, None]
        events, seen = padded(self.inputs(events), offsets)
        before = torch.cat([start.to(events.dtype), events[:, :-1]], 1)  # teacher forcing: the event before
        length = before.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=h.device).triu(1)
        x = before + positions(length, self.width, h.device).to(before.dtype)
        return self.blocks(x, start.to(x.dtype), tgt_mask=causal).float(), seen

    def errors(
        self, encoder: EventEncoder, h: Tensor, batch: EventBatch, smoothing: float
    ) -> dict[str, Tensor]:
        """Return the mean errors over all real events; a missing number counts for nothing."""
        states, seen = self.states(h, encoder.events(batch), batch.offsets)
        flat = states[seen]  # (N, width), in the order of the batch
        codes = encoder.codes(batch)
        values, missing = encoder.values(batch)
        costs = {
            name: cross_entropy(head(flat).float(), codes[:, i], label_smoothing=smoothing)
            for i, (name, head) in enumerate(zip(encoder.categories, self.categories, strict=True))
        }
        errors = (self.numbers(flat).float() - values).square() * ~missing
        terms = {"categories": torch.stack(list(costs.values())).sum()} if costs else {}
        if values.shape[1] > 1:
            terms["numbers"] = (errors[:, :-1].sum(0) / (~missing[:, :-1]).sum(0).clamp_min(1)).sum()
        return {**terms, "gap": errors[:, -1].mean()}


def alignment(h: Tensor, c: Tensor, scale: Tensor, bias: Tensor, same: Tensor | None = None) -> Tensor:
    """Return the sigmoid loss of matching each h with its own c: ``-mean_i Σ_j log σ(y_ij z_ij)``.

    ``z_ij = scale * cos(h_i, c_j) + bias``, y is 1 on the diagonal and -1 elsewhere. Pairs of different rows
    that are of the same client say nothing and are left out.

    Args:
        h: ``(B, D)``.
        c: ``(M, D)`` with M >= B, own rows first.
        scale: t, above 0.
        bias: b.
        same: ``(B, M)`` bool, which pairs are of one client; None: each row is of its own.

    Source: arXiv:2401.15935, Sec. 3.3, after SigLIP, arXiv:2303.15343.
    """
    z = scale * normalize(h, dim=1) @ normalize(c, dim=1).T + bias
    own = torch.eye(len(h), len(c), device=h.device)
    cost = -logsigmoid((2 * own - 1) * z)
    if same is not None:
        cost = cost.masked_fill(same & (own == 0), 0.0)
    return cost.sum(1).mean()
