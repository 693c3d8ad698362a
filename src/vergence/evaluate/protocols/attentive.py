"""The attentive probe: one block of cross-attention and a linear layer, trained on frozen tokens."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence import engine
from vergence.core import BadInput, Features, RunConfig
from vergence.data.batch import Batch
from vergence.data.source import ArraySource, Skipped
from vergence.evaluate.protocols.finetune import Classifier
from vergence.evaluate.score import Score, mean_score
from vergence.nets.attentive import AttentivePool

if TYPE_CHECKING:
    from vergence.data import Source
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)


@dataclass(frozen=True)
class TokenBatch(Batch):
    """Tokens of some samples.

    Args:
        tokens: ``(B, N, D)``.
        index: ``(B,)``.
        label: ``(B,)``.
    """

    tokens: Tensor
    index: Tensor
    label: Tensor


class TokenSource(ArraySource):
    """Frozen tokens in memory, with the labels of their samples."""

    labels: np.ndarray

    def __init__(self, tokens: np.ndarray, labels: np.ndarray, source: Source) -> None:
        self.uri, self.modality, self.classes = source.uri, source.modality, source.classes
        self.skipped, self.view_options = Skipped(), {}
        self.tokens, self.every = tokens, labels
        self.choose_rows(np.arange(len(tokens)))

    def choose_rows(self, rows: np.ndarray) -> None:
        self.rows, self.labels = rows, self.every[rows]
        self.names = [f"sample {row}" for row in rows.tolist()]

    def sample(self, i: int) -> np.ndarray:
        return np.asarray(self.tokens[self.rows[i]])

    def batch(self, index: np.ndarray) -> TokenBatch:
        tokens = torch.from_numpy(self.tokens[self.rows[index]])
        return TokenBatch(tokens, torch.as_tensor(index), torch.from_numpy(self.labels_of(index)))


class _OfBatch(nn.Module):
    """Pools batches as well as tokens, standardised."""

    mean: Tensor
    scale: Tensor

    def __init__(self, pool: AttentivePool, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.pool, self.out_dim = pool, pool.out_dim
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, batch: TokenBatch | Tensor) -> Tensor:
        tokens = batch.tokens if isinstance(batch, TokenBatch) else batch
        return self.pool((tokens - self.mean) / self.scale)


def attentive(
    train: TokenSource,
    test: TokenSource,
    *,
    heads: int = 1,
    queries: int = 1,
    epochs: int = 20,
    lr: float = 1e-3,
    batch_size: int = 128,
    seed: int = 0,
) -> Score:
    """Share of test samples that an attentive probe on frozen tokens gets right.

    Tokens are standardised; queries that are learned look at them once (``nets.attentive``), and a linear
    layer tells the class. AdamW, with a warm-up over a tenth of the steps and a cosine; nothing is chosen.

    Args:
        train: Labelled tokens.
        test: Labelled tokens to judge by.
        heads: Of the cross-attention; divides the tokens' width.
        queries: How many.
        epochs: Passes over the training tokens.
        lr: Peak learning rate.
        batch_size: Samples a step, at most a quarter of all.
        seed: Of the start and the order.

    Source: as Bardes et al. 2024 (V-JEPA), arXiv:2404.08471, Sec. 4, probe frozen tokens.
    """
    rows = np.flatnonzero(train.labels >= 0)
    if not len(rows):
        raise BadInput(f"attentive needs labels; {train.uri} has none.")
    tokens = torch.from_numpy(train.tokens).float()
    mean, scale = tokens.mean((0, 1)), tokens.std((0, 1)).clamp_min(1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pool = AttentivePool(tokens.shape[2], heads=heads, queries=queries)
        method = Classifier(
            _OfBatch(pool, mean, scale),
            classes=int(train.labels.max()) + 1,
            augment=lambda batch: [batch.tokens],
        )
        recipe = dataclasses.replace(Classifier.recipe, epochs=epochs, lr=lr, warmup=epochs / 10)
        size = max(2, min(batch_size, len(rows) // 4))
        config = RunConfig(method="attentive", source=train.uri, recipe=recipe, batch_size=size, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            engine.train(method, train.subset(rows), config, out=Path(folder), quiet=True)
    embeddings = engine.embed(method.encoder, test)
    with torch.no_grad():
        guess = method.head.cpu()(torch.from_numpy(embeddings.vectors)).argmax(1).numpy()
    return mean_score(guess == embeddings.labels, note=f"{epochs} epochs", seed=seed)


def token_source(encoder: nn.Module, source: Source) -> TokenSource | None:
    """Return the tokens of every labelled sample; None where the encoder answers with vectors alone."""
    grids: list[Any] = []

    def read(batch: Any) -> Tensor:
        answer = encoder(batch)
        grids.append(isinstance(answer, Features) and answer.tokens is not None)
        return answer.tokens if grids[-1] else torch.zeros(len(batch), 1, 1)

    embedded = engine.embed(encoder, source, read=read)
    if not all(grids) or embedded.labels is None:
        return None
    known = embedded.labels >= 0
    return TokenSource(embedded.vectors[known], embedded.labels[known], source)


def _attentive(split: Split, seed: int) -> Scores:
    train, test = token_source(split.encoder, split.train), token_source(split.encoder, split.test)
    if train is not None and test is not None:
        yield "attentive", attentive(train, test, seed=seed)


PROTOCOLS = {"attentive": _attentive}
