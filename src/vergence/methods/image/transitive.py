"""Transitive Invariance for Self-supervised Visual Representation Learning, arXiv:1708.02901."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Clock, Method, Recipe, Stage
from vergence.data.image.batch import ImageBatch
from vergence.data.image.clips import Clips
from vergence.data.image.source import ImageSource
from vergence.engine.distributed import gather
from vergence.losses.margin import hard_triplets
from vergence.methods import method_class
from vergence.methods.image.views import KINDS, MILD
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, View

BLOCK = 2**24  # likenesses held at a time while links are mined


@dataclasses.dataclass(frozen=True)
class Pairs:
    """What a step learns from.

    Args:
        first: Views of pictures ``(B)``.
        second: Views of pictures that are meant to be like them.
        clips: ``(B, 2)`` int64, the clips that both are of.
        own: Views of the method that the first features came from.
    """

    first: View
    second: View
    clips: Tensor
    own: Any


class Transitive(Method):
    """Hold two pictures for alike where a chain of likeness leads from one to the other.

    In a clip, the same thing looks different later: A, A'. Between clips, first features find other things
    that look the same: A, B. Neither shows that another thing may look different, but both together do: A'
    and B', A' and B, A and B' are of one kind. Triplets draw each of these five together, away from the
    pictures of the batch that are most alike without a reason.

    First ``first`` is trained alone. Its features link each picture to the nearest ones in other clips, where
    both are among each other's nearest. Then triplets and ``first`` are trained together, so that features do
    not drift.

    Wang, He, Gupta 2017, arXiv:1708.02901. Differs from the paper: a clip shows one thing throughout, such as
    patches along a track, and is not cut from videos here; links are kept where they are mutual, in place of
    clusters; all five pairs are drawn alike; both terms share the whole encoder, not only its convolutions,
    and the triplets' term looks at its vectors, without layers of its own; before the hardest negatives
    count, all of the batch do.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        first: Key of the method that gives the first features, with its defaults; context prediction in the
            paper, which wants a convolutional encoder. It must be trained by one optimizer, in one stage, in
            the source's batches and from photos alone.
        first_weight: Of its loss beside the triplets, at least 0.
        apart: Pictures between the two ends of a track, at least 1; in a shorter clip, its ends.
        neighbours: In other clips, that a picture may be linked to, at least 1.
        margin: By how much others are to be farther away, in (0, 2].
        negatives: Hardest others of each pair, at least 1.
        hard_from: Epoch from which on they alone count; until then all others of the batch do.
    """

    recipe = Recipe(
        optimizer="sgd",
        lr=1e-3,
        lr_scaling="none",
        batch=128,
        epochs=100,
        weight_decay=5e-4,
        encoder="resnet-tiny",
    )
    links: Tensor
    kinds: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4)  # of pairs that are drawn, in the order of ``draw``

    def __init__(
        self,
        encoder: nn.Module,
        *,
        first: str = "context",
        first_weight: float = 1.0,
        apart: int = 30,
        neighbours: int = 5,
        margin: float = 0.5,
        negatives: int = 4,
        hard_from: int = 10,
    ) -> None:
        super().__init__(encoder)
        if min(apart, neighbours, negatives) < 1 or not 0 < margin <= 2 or first_weight < 0:
            raise BadInput(
                "Transitive needs apart, neighbours and negatives of 1 or more, margin in (0, 2] and "
                f"first_weight >= 0; got {apart}, {neighbours}, {negatives}, {margin} and {first_weight}."
            )
        made = method_class(first)
        if not issubclass(made, Method):
            raise BadInput(
                f"Transitive needs first features of a method that is trained; '{first}' is fitted."
            )
        own = [n for n in ("optimizers", "batches", "stages") if getattr(made, n) is not getattr(Method, n)]
        if own or made.reads:
            raise BadInput(
                f"Transitive cannot train '{first}' beside its triplets, for it has its own "
                f"{' and '.join(own + ['reads'] * bool(made.reads))}; choose another first."
            )
        self.first, self.first_is_ready = made(encoder), False
        self.crop = Augment(image_size(encoder), **MILD)
        self.first_weight, self.apart, self.neighbours = first_weight, apart, neighbours
        self.margin, self.negatives, self.hard_from = margin, negatives, hard_from
        self.register_buffer("links", torch.empty(0, 2, dtype=torch.int64))  # rows, sorted by the first

    def setup(self, source: ImageSource) -> None:  # type: ignore[override]
        self.clips = Clips(source, "Transitive")
        if not self.first_is_ready:
            self.first.setup(source)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)
        if isinstance(self.first.views, str):
            self.first.views = KINDS[self.first.views](self.crop.size, **options)
        else:
            self.first.configure_views(options)

    def stages(self, source: ImageSource) -> Sequence[Stage]:  # type: ignore[override]
        """Learn first features, then pairs."""

        def first(before: dict[str, Any]) -> Method:
            self.first_is_ready = True  # by its own stage, and what it has learned since stays
            return self.first

        return [Stage("first", first), Stage("pairs", lambda before: self)]

    @torch.no_grad()
    def epoch_start(self, clock: Clock, loader: Iterable[ImageBatch]) -> None:
        """Link pictures by the first features, once."""
        if clock.epoch == 0:
            training = self.encoder.training
            self.encoder.eval()
            encoded = [(batch.index, self.encode(batch).float()) for batch in loader]
            self.encoder.train(training)
            index, x = (torch.cat(parts) for parts in zip(*encoded, strict=True))
            rows, clip = index.cpu(), self.clips.of[index.cpu()].to(x.device)
            self.links = rows[mutual_links(x, clip, self.neighbours).cpu()].to(x.device)
        self.watch("linked", len(self.links[:, 0].unique()) / len(self.clips.of))

    def views(self, batch: ImageBatch) -> Pairs:
        index = batch.index.cpu()
        first, second = self.draw(index)
        spec = {"size": self.crop.size}
        pictures = [self.clips.read(rows, batch, spec) for rows in (first, second)]
        clips = torch.stack([self.clips.of[part.index.cpu()] for part in pictures], 1)
        one, other = (self.crop(part) for part in pictures)
        return Pairs(one, other, clips.to(batch.pixels.device), self.first.views(batch))  # type: ignore[operator]

    def draw(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of both pictures of a pair about each row of ``index (B,)``.

        Where A has a link to B, one of (A, A'), (A, B), (A, B'), (A', B), (A', B'); else (A, A').
        """
        links = self.links.cpu()
        start, end = (
            torch.searchsorted(links[:, 0].contiguous(), index, right=right) for right in (False, True)
        )
        linked = end > start
        chosen = start + (torch.rand(len(index)) * (end - start)).long()
        other = index.clone()
        other[linked] = links[chosen[linked], 1]
        kind = torch.tensor(self.kinds)[torch.randint(len(self.kinds), (len(index),))]
        kind = torch.where(linked, kind, 0)
        later, other_later = self.clips.apart(index, self.apart), self.clips.apart(other, self.apart)
        first = torch.where(kind >= 3, later, index)
        second = torch.stack([later, other, other_later, other, other_later])[kind, torch.arange(len(index))]
        return first, second

    def step_end(self, clock: Clock) -> None:
        self.first.step_end(clock)

    def loss(self, views: Pairs) -> dict[str, Tensor]:
        first, second = (self.encode(view) for view in (views.first, views.second))
        others, clips = torch.cat([gather(first), gather(second)]), gather(views.clips)
        allowed = ~self.related(views.clips, torch.cat([clips[:, 0], clips[:, 1]]))
        negatives = self.negatives if self.clock.epoch >= self.hard_from else len(others)
        triplets = hard_triplets(first, second, others, allowed, margin=self.margin, negatives=negatives)
        self.first.clock = self.clock
        own = self.first.loss(views.own)
        return {"triplets": triplets, **{f"first_{name}": self.first_weight * own[name] for name in own}}

    def related(self, pairs: Tensor, clips: Tensor) -> Tensor:
        """Return whether clips ``(M,)`` are one of each pair's ``(B, 2)``, or linked to one, ``(B, M)``."""
        count = len(self.clips.length)
        of = self.clips.of.to(self.links.device)[self.links]
        linked = (of[:, 0] * count + of[:, 1]).unique()
        either = pairs[:, :, None] * count + clips  # (B, 2, M)
        return ((pairs[:, :, None] == clips) | torch.isin(either, linked)).any(1)


def mutual_links(x: Tensor, clip: Tensor, neighbours: int) -> Tensor:
    """Return pairs ``(E, 2)`` of rows of different clips that are among each other's nearest, both ways.

    Args:
        x: ``(n, D)``; likeness is the cosine about the mean.
        clip: ``(n,)``.
        neighbours: Nearest of other clips that count.

    Returns:
        Sorted by the first row.
    """
    x, n = normalize(x - x.mean(0), dim=1), len(x)
    nearest = []
    for rows in torch.arange(n, device=x.device).split(max(1, BLOCK // n)):
        likeness = (x[rows] @ x.T).masked_fill(clip[rows, None] == clip, -torch.inf)
        best, place = likeness.topk(min(neighbours, n), dim=1)
        row, column = torch.nonzero(best > -torch.inf, as_tuple=True)
        nearest.append(torch.stack([rows[row], place[row, column]], 1))
    links = torch.cat(nearest)
    forward, backward = links[:, 0] * n + links[:, 1], links[:, 1] * n + links[:, 0]
    mutual = forward[torch.isin(forward, backward)].sort().values
    return torch.stack([mutual // n, mutual % n], 1)
