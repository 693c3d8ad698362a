"""Internet Explorer: Targeted Representation Learning on the Open Web.

Li, Brown, Efros, Pathak 2023, arXiv:2302.14051.

From a few unlabelled pictures of what matters (the target), learn by asking a search engine for more that
help. In every round (Sec. 3)

1. concepts are drawn and asked for;
2. a picture's reward is its mean cosine to its 15 nearest pictures of the target, by the encoder as it is
   now; a concept's reward is the mean of its ten best pictures;
3. the encoder learns on, half from the target, half from the new pictures and the better halves of all
   earlier ones;
4. a Gaussian process from concepts' vectors to their rewards predicts every concept, asked for or not; those
   whose predicted mean plus deviation is highest are drawn most in the next round.

The engine is a plug-in (``SearchEngine``): a web search behind an adapter, or a collection that stands in for
one (``LocalEngine``). It must not hold the pictures that the encoder will be judged by.

Differs from the paper: concepts are asked for without descriptors, which an engine may add; any learner of
the library that takes pictures, MoCo v3 by default; rewards of earlier rounds are computed anew with the
encoder as it is; shares of the concepts, not numbers, make the tiers that are drawn from, and the first draws
are even.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Estimator, Method, RunConfig
from vergence.data import Source
from vergence.data.image.joined import joined
from vergence.engine import embed
from vergence.engine.encoders import initial_encoder
from vergence.engine.stages import train_method
from vergence.methods import method_class
from vergence.methods.image import encoders
from vergence.methods.image.search_engines import SearchEngine, as_engine

TIERS = ((0.05, 0.8), (0.2, 0.1))  # share of the concepts, best first, and the chance of all of them


@dataclass(frozen=True)
class Round:
    """What happened in a round.

    Args:
        queries: ``(q,)`` int64, concepts.
        rewards: ``(q,)``, theirs when they came.
        pictures: That came.
    """

    queries: np.ndarray
    rewards: np.ndarray
    pictures: int


class InternetExplorer(Estimator):
    """Search for pictures that help with the target, and learn from them.

    ``fit`` takes the target. After it: ``encoder``; ``history``, a ``Round`` each; ``engine``.

    Args:
        pool: A ``SearchEngine``; or a store, pictures, or where either lies, of which a ``LocalEngine`` is
            made.
        init: Weights to begin with ("run:PATH", "timm:NAME"), or an encoder, best trained on much and
            varied; None begins untrained.
        learner: Key of a learner of images.
        backbone: Name of the encoder where there is no ``init``; None lets learner and data choose.
        size: Side of the views in pixels, likewise.
        rounds: Of asking and learning.
        queries: Concepts a round.
        images: Pictures a query, at most.
        epochs: Passes a round over the target and as many other pictures.
        neighbours: Of the target that a picture's reward is the mean over.
        best: Pictures that a concept's reward is the mean over.
        batch_size: Of all trainings; None lets the learner choose.
        lr: Likewise.
        optimizer: Likewise.
        weight_decay: Likewise.
    """

    encoder: nn.Module
    history: list[Round]
    engine: SearchEngine

    def __init__(
        self,
        *,
        pool: Any = None,
        init: Any = None,
        learner: str = "mocov3",
        backbone: str | None = None,
        size: int | None = None,
        rounds: int = 30,
        queries: int = 256,
        images: int = 100,
        epochs: int = 5,
        neighbours: int = 15,
        best: int = 10,
        batch_size: int | None = None,
        lr: float | None = None,
        optimizer: Literal["sgd", "lars", "adam", "adamw"] | None = None,
        weight_decay: float | None = None,
    ) -> None:
        if min(rounds, queries, images, epochs, neighbours, best) < 1:
            raise BadInput(
                "iexplorer needs 1 or more rounds, queries, images, epochs, neighbours and best; got "
                f"{rounds}, {queries}, {images}, {epochs}, {neighbours} and {best}."
            )
        self.pool, self.init, self.learner, self.backbone, self.size = pool, init, learner, backbone, size
        self.rounds, self.queries, self.images, self.epochs = rounds, queries, images, epochs
        self.neighbours, self.best = neighbours, best
        self.batch_size, self.lr, self.optimizer, self.weight_decay = batch_size, lr, optimizer, weight_decay

    @property
    def result(self) -> dict[str, Any]:
        """The queries of every round, and their rewards."""
        names = self.engine.concepts
        return {
            "queries": [[names[c] for c in one.queries] for one in self.history],
            "rewards": [[round(float(r), 4) for r in one.rewards] for one in self.history],
        }

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        if self.pool is None:
            raise BadInput("iexplorer needs --pool: pictures to search, a store of them, or a search engine.")
        if source.modality != "image":
            raise BadInput(f"iexplorer learns from images; {source.uri} holds none.")
        random = np.random.default_rng(seed)
        method = self._learner(source, seed)
        net = method.encoder
        self.engine = as_engine(self.pool, net, seed=seed)
        self.history = []
        visits: dict[int, Source] = {}  # a concept's best pictures so far
        replay: list[Source] = []
        for number in range(self.rounds):
            target = unit(net, source)[0]
            odds = self.odds(self.ratings(net, target, visits), number / max(1, self.rounds - 1))
            count = min(self.queries, int((odds > 0).sum()))
            queries = random.choice(len(odds), count, replace=False, p=odds)
            answers = [
                self.engine.search(self.engine.concepts[c], self.images, seed=seed + number) for c in queries
            ]
            pictures = joined(answers, [self.engine.concepts[c] for c in queries])
            vectors, rows = unit(net, pictures)
            reward, of = self.image_rewards(vectors, target), pictures.labels[rows]  # type: ignore[index]
            for place, concept in enumerate(queries.tolist()):
                own = np.flatnonzero(of == place)
                if len(own):
                    visits[concept] = pictures.subset(rows[own[np.argsort(-reward[own])[: self.best]]])
            rewards = np.array([self.query_reward(reward[of == i]) for i in range(len(queries))])
            self.history.append(Round(queries, rewards, len(rows)))
            self.learn_on(method, source, [pictures, *replay], random, seed + number)
            replay.append(pictures.subset(rows[reward >= np.median(reward)]))
        self.encoder = net.eval()
        return self

    def _learner(self, source: Source, seed: int) -> Method:
        cls = method_class(self.learner)
        if not issubclass(cls, Method):
            raise BadInput(f"iexplorer needs a learner of images, such as mocov3; got {self.learner}.")
        torch.manual_seed(seed)
        if isinstance(self.init, nn.Module):
            return cls(self.init)
        if self.init is not None:
            return cls(initial_encoder(self.init, source, size=self.size))
        return cls(encoders.for_source(source, self.backbone or cls.recipe.encoder, size=self.size))

    def learn_on(
        self, method: Method, target: Source, others: Sequence[Source], random: np.random.Generator, seed: int
    ) -> None:
        """Learn on from the target and as many of the others, drawn anew (step 3)."""
        ends = np.cumsum([len(other) for other in others], dtype=np.int64)
        drawn = np.sort(random.permutation(int(ends.max(initial=0)))[: len(target)])
        parts = [
            other.subset(drawn[(drawn >= end - len(other)) & (drawn < end)] - (end - len(other)))
            for other, end in zip(others, ends, strict=True)
        ]
        sources = [target, *(part for part in parts if len(part))]
        together = joined(sources, [str(i) for i in range(len(sources))])
        config = RunConfig(
            method=self.learner, source=together.uri, epochs=self.epochs, batch_size=self.batch_size,
            lr=self.lr, optimizer=self.optimizer, weight_decay=self.weight_decay, warmup=0, seed=seed,
            workers=1,
        )  # fmt: skip
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as folder:
            train_method(method, together, config, out=Path(folder) / "run", quiet=True)

    def image_rewards(self, pictures: Tensor, target: Tensor) -> np.ndarray:
        """Return each picture's reward: its mean cosine to its nearest neighbours in the target.

        Args:
            pictures: ``(n, D)`` of unit length.
            target: ``(m, D)``, likewise.
        """
        k = min(self.neighbours, len(target))
        blocks = [(part @ target.T).topk(k).values.mean(1) for part in pictures.split(4096)]
        return torch.cat(blocks).numpy()

    def query_reward(self, rewards: np.ndarray) -> float:
        """Return the mean of the best pictures' rewards ``(n,)``; NaN where none came."""
        return float(np.sort(rewards)[-self.best :].mean()) if len(rewards) else float("nan")

    def ratings(self, net: nn.Module, target: Tensor, visits: dict[int, Source]) -> np.ndarray:
        """Return how promising every concept is, ``(C,)``: predicted mean plus deviation (step 4)."""
        if len(visits) < 2:
            return np.zeros(len(self.engine.concepts))
        known = np.array(sorted(visits))
        pictures = joined([visits[c] for c in known], [str(c) for c in known])
        vectors, rows = unit(net, pictures)
        reward, of = self.image_rewards(vectors, target), pictures.labels[rows]  # type: ignore[index]
        now = np.array([self.query_reward(reward[of == i]) for i in range(len(known))])
        seen = np.isfinite(now)
        return self.predicted(known[seen], now[seen])

    def predicted(self, known: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        """Return mean plus deviation of every concept's reward.

        Args:
            known: ``(v,)``, concepts that were searched for.
            rewards: ``(v,)``.
        """
        mean, deviation = regressed(self.engine.vectors, known, rewards)
        return mean + deviation

    def odds(self, ratings: np.ndarray, progress: float) -> np.ndarray:
        """Return the chances ``(C,)`` that concepts are drawn: even at first, by tiers from half-way on."""
        even = np.full(len(ratings), 1 / len(ratings))
        greed = min(1.0, 2 * progress) if np.ptp(ratings) > 0 else 0.0
        return (1 - greed) * even + greed * tiered(ratings)


def regressed(vectors: np.ndarray, known: np.ndarray, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict every concept's reward from those of some, by a Gaussian process on concepts' vectors.

    Args:
        vectors: ``(C, T)``; only directions count.
        known: ``(v,)``, concepts whose reward is known.
        rewards: ``(v,)``; standardised before the fit.

    Returns:
        Means and standard deviations ``(C,)``, in the rewards' unit.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    x = vectors.astype(np.float64) - vectors.mean(0)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    level, scale = rewards.mean(), max(float(rewards.std()), 1e-9)
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * RBF(0.7, (0.1, 5.0)) + WhiteKernel(0.1, (1e-3, 1.0))
    model = GaussianProcessRegressor(kernel, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a kernel at the end of its range will do
        model.fit(x[known], (rewards - level) / scale)
    mean, deviation = model.predict(x, return_std=True)
    return level + scale * mean, scale * deviation


def tiered(ratings: np.ndarray, tiers: Sequence[tuple[float, float]] = TIERS) -> np.ndarray:
    """Return chances ``(C,)`` that are even within tiers.

    Args:
        ratings: ``(C,)``; the best concepts make the first tier.
        tiers: Share of the concepts, at least one concept, and chance of each tier but the last, which has
            what is left of both.
    """
    n = len(ratings)
    order, chances = np.argsort(-ratings, kind="stable"), np.zeros(n)
    start, left = 0, 1.0
    for share, chance in tiers:
        end = min(n, start + max(1, round(share * n)))
        chances[order[start:end]] = chance / max(1, end - start)
        start, left = end, left - chance
    if start < n:
        chances[order[start:]] = left / (n - start)
    return chances / chances.sum()


def unit(encoder: nn.Module, source: Source) -> tuple[Tensor, np.ndarray]:
    """Return vectors ``(n, D)`` of unit length of a source's readable pictures, and their rows."""
    embeddings = embed(encoder, source)
    return normalize(torch.from_numpy(embeddings.vectors), dim=1), embeddings.index
