"""Results and findings of the 2021 Image Similarity Challenge.

Papakipos, Tolias, Jenicek, Pizzi, Yokoo, Wang, Sun, Zhang, Yang, Addicam, Papadakis, Ferrer, Chum, Douze
2022, arXiv:2202.04007.

Queries are strongly edited copies of references, and most are copies of nothing. What is judged is the list
of all pairs (query, reference, score) under one threshold: the micro average precision

    AP = Σ_i (r_i - r_{i-1}) p_i,

with precision p_i and recall r_i of the first i pairs by falling score. Among equal scores wrong pairs come
first; recall counts every true pair, listed or not. Recall at 90 % precision is the recall of the longest
such list with p_i ≥ 0.9.

Differs from the challenge: photos, edits and sizes are those of this machine (``challenge``); intervals are
over resampled queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import input_spec, pooled
from vergence.core.errors import BadInput
from vergence.data import Source
from vergence.engine import embed
from vergence.engine.devices import device_of
from vergence.evaluate.inputs import Array
from vergence.evaluate.score import Score, mean_score, resampled
from vergence.use.score_normalisation import background_level
from vergence.use.topk import topk
from vergence.views.pixels.augment import plain
from vergence.views.pixels.copies import EDITS, Copies

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS: tuple[str, ...] = ()  # copies are made
_PRECISION = 0.9
_BLOCK = 1 << 23  # numbers held at a time while resampling


@dataclass(frozen=True, slots=True)
class CopyDetection:
    """How well copies are found.

    Args:
        micro_ap: Over all pairs of all queries.
        recall_at_p90: Share of the true pairs found at the threshold from which on 90 % are right.
        threshold: That score; infinite where no threshold is so precise.
        recall_at_1: Share of the true pairs that come first among their query's.
        recall_at_k: Share of the true pairs that are listed at all.
        by_edit: Name of an edit -> queries that were edited so, their recall at the threshold, and at 1.
    """

    micro_ap: Score
    recall_at_p90: float
    threshold: float
    recall_at_1: Score
    recall_at_k: float
    by_edit: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "micro_ap": self.micro_ap.to_dict(),
            "recall_at_p90": self.recall_at_p90,
            "threshold": self.threshold,
            "recall_at_1": self.recall_at_1.to_dict(),
            "recall_at_k": self.recall_at_k,
            "by_edit": self.by_edit,
        }


def copy_detection(
    queries: Array,
    references: Array,
    truth: Array,
    *,
    background: Array | None = None,
    neighbours: int = 3,
    k: int = 10,
    edits: Array | None = None,
    edit_names: Sequence[str] = EDITS,
) -> CopyDetection:
    """Judge descriptors, compared by cosine, by the challenge's protocol.

    Args:
        queries: ``(Q, D)``.
        references: ``(R, D)``.
        truth: ``(Q,)`` the row of the reference that a query is a copy of; -1 where it is of none. Those
            count: whatever is found for them is wrong.
        background: ``(M, D)`` of photos that are neither; a query's mean cosine to its nearest ones is
            then taken off its scores.
        neighbours: That this mean is over.
        k: Pairs listed a query.
        edits: ``(Q, E)`` bool, what was done to each query.
        edit_names: Of the E edits.

    Raises:
        BadInput: If no query has a match, or shapes do not fit.
    """
    queries, references = (torch.as_tensor(x).detach().float() for x in (queries, references))
    where = np.asarray(truth)
    if where.shape != (len(queries),) or where.max(initial=-1) >= len(references):
        raise BadInput(
            f"Each of {len(queries)} queries needs its reference, 0 to {len(references) - 1} or -1 for none; "
            f"got {where.shape} up to {where.max(initial=-1)}."
        )
    scores, rows = topk(queries, references, k)
    if background is not None:
        level = background_level(queries, torch.as_tensor(background), neighbours=neighbours)
        scores = scores - level.to(scores)[:, None]
    asking = np.arange(len(queries)).repeat(scores.shape[1])
    pairs = np.stack([asking, rows.cpu().numpy().ravel()], 1)
    matched = np.flatnonzero(where >= 0)
    return judge(
        pairs,
        scores.cpu().numpy().ravel(),
        np.stack([matched, where[matched]], 1),
        queries=len(queries),
        edits=None if edits is None else np.asarray(edits),
        edit_names=edit_names,
    )


def judge(
    pairs: np.ndarray,
    scores: np.ndarray,
    truth: np.ndarray,
    *,
    queries: int | None = None,
    edits: np.ndarray | None = None,
    edit_names: Sequence[str] = EDITS,
) -> CopyDetection:
    """Judge a list of pairs, whoever made it.

    Args:
        pairs: ``(m, 2)`` rows of query and reference, each pair at most once.
        scores: ``(m,)``, higher is surer; comparable between queries.
        truth: ``(t, 2)``, all true pairs.
        queries: Their number, for the interval; None takes as many as are named.
        edits: ``(Q, E)`` bool.
        edit_names: Of the E edits.

    Raises:
        BadInput: If a pair comes twice, a score is not finite, or there is no true pair.
    """
    pairs, truth, scores = np.asarray(pairs), np.asarray(truth), np.asarray(scores, np.float64)
    for name, rows in (("listed", pairs), ("true", truth)):
        if len(np.unique(rows, axis=0)) < len(rows):
            raise BadInput(f"A {name} pair of query and reference comes twice; give each pair once.")
    if not len(truth) or scores.shape != (len(pairs),) or not np.isfinite(scores).all():
        raise BadInput(
            f"Copy detection needs true pairs and one finite score a pair; got {len(truth)} true ones and "
            f"{scores.shape} scores for {len(pairs)} pairs."
        )
    width = int(max(pairs[:, 1].max(initial=0), truth[:, 1].max())) + 1
    right = np.isin(pairs[:, 0] * width + pairs[:, 1], truth[:, 0] * width + truth[:, 1])
    order = falling(scores, right)
    pairs, scores, right = pairs[order], scores[order], right[order]
    precision, hits = precisions(right), right.cumsum()
    sure = np.flatnonzero(precision >= _PRECISION)
    threshold = float(scores[sure[-1]]) if len(sure) else float("inf")

    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs[:, 0], return_index=True)[1]] = True  # in falling order, wrong ones first
    total = queries or int(max(pairs[:, 0].max(initial=0), truth[:, 0].max())) + 1
    key = truth[:, 0] * width + truth[:, 1]
    listed = pairs[:, 0] * width + pairs[:, 1]
    top, above = np.isin(key, listed[first & right]), np.isin(key, listed[right & (scores >= threshold)])
    return CopyDetection(
        micro_ap=_pooled(pairs[:, 0], right, truth[:, 0], total),
        recall_at_p90=float(hits[sure[-1]] / len(truth)) if len(sure) else 0.0,
        threshold=threshold,
        recall_at_1=mean_score(top, note=f"{len(truth)} true pairs"),
        recall_at_k=float(right.sum() / len(truth)),
        by_edit={} if edits is None else _by_edit(edits[truth[:, 0]], edit_names, above, top),
    )


def falling(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the order by falling score, wrong pairs first among equal ones."""
    return np.lexsort((right, -scores))


def precisions(right: np.ndarray) -> np.ndarray:
    """Return p_i of ``right (m,)``, pairs in order."""
    return right.cumsum() / np.arange(1, len(right) + 1)


def micro_ap(scores: np.ndarray, right: np.ndarray, total: int) -> float:
    """Return the average precision of all pairs together.

    Args:
        scores: ``(m,)``.
        right: ``(m,)`` bool.
        total: True pairs there are, listed or not.

    >>> micro_ap(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), total=2)
    0.8333333333333333
    """
    right = right[falling(scores, right)]
    return float((precisions(right) * right).sum() / total)


def _pooled(asking: np.ndarray, right: np.ndarray, of_truth: np.ndarray, queries: int) -> Score:
    """Score micro AP with an interval: queries are drawn anew, with all of their pairs."""
    value = float((precisions(right) * right).sum() / len(of_truth))
    true = np.bincount(of_truth, minlength=queries)
    repeats, drawn = 200, []
    for part in np.array_split(np.arange(repeats), 1 + repeats * len(right) // _BLOCK):
        counts = resampled(np.ones(queries, np.int64), len(part), seed=int(part[0]) if len(part) else 0)
        weight = counts[:, asking].astype(np.float64)
        hits = weight * right
        share = hits.cumsum(1) / np.maximum(weight.cumsum(1), 1)
        drawn.append((share * hits).sum(1) / np.maximum(counts @ true, 1))
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    return Score(
        value, min(float(low), value), max(float(high), value), queries, f"{len(of_truth)} true pairs"
    )


def _by_edit(
    edits: np.ndarray, names: Sequence[str], above: np.ndarray, top: np.ndarray
) -> dict[str, dict[str, float]]:
    return {
        name: {
            "queries": int(done.sum()),
            "recall_at_p90": float(above[done].mean()),
            "recall_at_1": float(top[done].mean()),
        }
        for name, done in zip(names, edits.T.astype(bool), strict=True)
        if done.any()
    }


@dataclass(frozen=True, slots=True)
class Challenge:
    """Photos dealt out as in the challenge; no photo has two parts.

    Args:
        queries: ``(Q, 3, S, S)`` float32 in [0, 1].
        truth: ``(Q,)`` int64, rows of ``references``; -1 where a query is a copy of none.
        edits: ``(Q, 7)`` bool, see ``learn.image.copies.EDITS``.
        references: What the queries are looked up in.
        background: Photos to train on and to normalise scores by.
    """

    queries: Tensor
    truth: np.ndarray
    edits: np.ndarray
    references: Source
    background: Source

    def judge(self, encoder: nn.Module, *, normalised: bool = True) -> CopyDetection:
        """Judge an encoder, with the background taken off its scores or not."""
        embeddings = embed(encoder, self.references)
        place = np.full(len(self.references), -1)  # photos that cannot be read have no vector
        place[embeddings.index] = np.arange(len(embeddings.index))
        return copy_detection(
            embed_pixels(encoder, self.queries),
            embeddings.vectors,
            np.where(self.truth >= 0, place[self.truth], -1),
            background=embed(encoder, self.background).vectors if normalised else None,
            edits=self.edits,
        )


def challenge(
    source: Source,
    *,
    size: int,
    references: int,
    queries: int,
    background: int,
    matched: float = 0.2,
    copies: Copies | None = None,
    seed: int = 0,
) -> Challenge:
    """Deal out the photos of a source and copy some of them.

    Args:
        source: Of images; the parts may not ask for more than it has.
        size: Side of the queries in pixels.
        references: Their number.
        queries: Their number.
        background: Its number of photos; copies are set into these, never into references.
        matched: Share of the queries that copy a reference, in (0, 1]; the others copy photos that are
            nowhere else.
        copies: The edits; None takes the usual ones.
        seed: Of deal and edits.
    """
    matches = round(matched * queries)
    alone = queries - matches
    if not 0 < matches <= references or references + alone + background > len(source) or background < 1:
        raise BadInput(
            f"{references} references, {alone} queries without a match and {background} photos of background "
            f"(1 or more) need that many photos, and {matches} matches 1 to {references}; "
            f"{source.uri} has {len(source)}."
        )
    copies = copies or Copies(size)
    rows = np.random.default_rng(seed).permutation(len(source))
    ends = np.cumsum([references, alone, background])
    kept, lone, ground = rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] : ends[2]]
    generator = torch.Generator().manual_seed(seed)
    copied = np.random.default_rng(seed + 1).choice(references, matches, replace=False)
    away = source.subset(ground)
    few = away.subset(np.arange(min(512, len(away))))
    foreign = torch.cat([plain(batch, size) for batch in few.loader(256, spec={"size": size})])
    pixels, edits, seen = [], [], []
    for batch in source.subset(np.r_[kept[copied], lone]).loader(256, spec={"size": size}):
        made = copies(batch, generator, foreign=foreign)
        pixels.append(made.pixels)
        edits.append(made.edits)
        seen.append(batch.index)
    truth = np.r_[copied, np.full(alone, -1)][torch.cat(seen).numpy()]
    return Challenge(torch.cat(pixels), truth, torch.cat(edits).numpy(), source.subset(kept), away)


@torch.no_grad()
def embed_pixels(encoder: nn.Module, pixels: Tensor, batch: int = 256) -> np.ndarray:
    """Return the vectors ``(Q, D)`` of pictures ``(Q, 3, S, S)`` in [0, 1]."""
    training, device = encoder.training, device_of(encoder)
    encoder.eval()
    parts = [pooled(encoder(part.to(device))).float().cpu() for part in pixels.split(batch)]
    encoder.train(training)
    return torch.cat(parts).numpy()


def _copies(split: Split, seed: int) -> Scores:
    """Score how well edited copies of a third of the test are found among queries that are mostly none."""
    size, third = (input_spec(split.encoder) or {}).get("size", 0), len(split.test) // 3
    if not size or third < 5:
        raise BadInput(
            f"copies needs an encoder of images, and 15 or more to judge by; {split.test.uri} has not."
        )
    dealt = challenge(split.test, size=size, references=third, queries=third, background=third, seed=seed)
    yield "copies, micro-AP", dealt.judge(split.encoder, normalised=False).micro_ap
    yield "copies, normalised", dealt.judge(split.encoder).micro_ap


PROTOCOLS = {"copies": _copies}
