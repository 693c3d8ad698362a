"""Feature Representation Learning for Click-through Rate Prediction: A Review and New Perspectives.

arXiv:2302.02241. The survey's catalogue, and its runnable parts on one model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vergence.core import BadInput, Method, Recipe, unknown
from vergence.data import Source
from vergence.data.tables.batch import TableBatch
from vergence.data.tables.source import TableSource
from vergence.methods.tables.encoders import TableEncoder
from vergence.methods.tables.fields import TABLES, FieldGates, fm
from vergence.nets import mlp

LARGE = 100  # values from which a field's table is made smaller
BINS = 10  # of a number
CORES = ("logistic", "fm", "deepfm")


@dataclass(frozen=True)
class Entry:
    """One way of representing features.

    Args:
        name: As the field calls it.
        question: "which" feature is represented, or "how".
        kind: Branch of the catalogue.
        grain: What is decided for each: a field, a value, an instance, a pair of fields.
        chosen_by: By "search", "training" or a "rule".
        inference: What it costs when serving.
        here: How ``ClickEncoder`` runs it, or None.
    """

    name: str
    question: Literal["which", "how"]
    kind: str
    grain: str
    chosen_by: str
    inference: str
    here: str | None = None


# fmt: off
CATALOGUE: tuple[Entry, ...] = (
    Entry("full table", "how", "one table", "value", "training", "a row a value", "table='full'"),
    Entry("LASSO", "which", "raw features", "field", "training", "fewer fields"),
    Entry("AutoField", "which", "raw features", "field", "search", "fewer fields", "gates=True"),
    Entry("OptFS", "which", "raw features", "value", "training", "fewer rows"),
    Entry("AdaFS", "which", "raw features", "instance", "training", "a controller network"),
    Entry("AutoCross", "which", "generated", "pair of fields", "search", "a table a cross"),
    Entry("OptInter", "which", "generated", "pair of fields", "search", "a table each", "cross=('a', 'b')"),
    Entry("AutoFIS", "which", "generated", "pair of fields", "search", "fewer interactions"),
    Entry("NIS", "how", "embedding size", "value", "search", "smaller tables"),
    Entry("AutoDim", "how", "embedding size", "field", "search", "smaller tables"),
    Entry("AutoEmb", "how", "embedding size", "value", "search", "a controller network"),
    Entry("PEP", "how", "pruning", "component", "training", "sparse tables", "table='pruned'"),
    Entry("OptEmbed", "how", "pruning", "value and field", "search", "fewer rows, smaller tables"),
    Entry("mixed dimension", "how", "rule", "field", "rule", "smaller tables and a projection"),
    Entry("hashing", "how", "shared table", "value", "rule", "a smaller table", "table='hash'"),
    Entry("quotient-remainder", "how", "composed", "value", "rule", "two rows a value", "table='quotient'"),
    Entry("tensor-train", "how", "composed", "value", "rule", "some small products"),
    Entry("deep hash", "how", "no table", "value", "rule", "a network"),
    Entry("ROBE", "how", "shared table", "block", "rule", "one array for all fields"),
    Entry("quantised", "how", "precision", "component", "training", "fewer bits"),
)
# fmt: on


def catalogue(question: Literal["which", "how"] | None = None) -> tuple[Entry, ...]:
    """Return the ways of representing features, of one question or of both.

    >>> [entry.name for entry in catalogue("how") if entry.here]
    ['full table', 'PEP', 'hashing', 'quotient-remainder']
    """
    if question not in (None, "which", "how"):
        raise unknown("question", str(question), ("which", "how"))
    return tuple(entry for entry in CATALOGUE if question in (None, entry.question))


class ClickThrough(Method):
    """Predict a label of two classes from categorical fields; what is kept are the fields' vectors.

    Lyu, Tang, Guo, Tang, He, Zhang, Liu 2023, arXiv:2302.02241, a survey: this is its common ground, on
    which ways of representation are compared. It learns from labels; rows without one say nothing.

    Args:
        encoder: A ``ClickEncoder``.
        gate_weight: Of the mean opening of the gates, where there are any, not negative.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-2, lr_scaling="none", batch=1024, epochs=2, schedule="constant",
        encoder="vergence.methods.tables.ctrfeat:ClickEncoder",
    )  # fmt: skip

    def __init__(self, encoder: nn.Module, *, gate_weight: float = 0.02) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, ClickEncoder):
            raise BadInput(f"ctrfeat needs the encoder ClickEncoder; got {type(encoder).__name__}.")
        if gate_weight < 0:
            raise BadInput(f"ctrfeat needs a gate_weight of 0 or more; got {gate_weight}.")
        self.gate_weight = gate_weight

    def setup(self, source: Source) -> None:
        if source.labels is None or source.labels.max() != 1:
            raise BadInput(f"ctrfeat needs a label of two classes; name it: table:{source.uri}?label=COLUMN")

    def views(self, batch: TableBatch) -> TableBatch:
        return batch

    def loss(self, views: TableBatch) -> dict[str, Tensor]:
        encoder: ClickEncoder = self.encoder  # type: ignore[assignment]
        logit, known = encoder.logit(views), views.label >= 0
        cost = binary_cross_entropy_with_logits(logit, views.label.to(logit).clamp_min(0), reduction="none")
        terms = {"click": (cost * known).sum() / known.sum().clamp_min(1)}
        if encoder.gates is not None:
            terms["gates"] = self.gate_weight * encoder.gates.open.mean()
        return terms


class ClickEncoder(TableEncoder):
    """Fields -> their vectors side by side ``(B, F k)``; ``logit`` answers with the log odds of a click.

    Categories as they are (one code for missing, one for values that training did not have), numbers
    by the tenth of the training values that they lie in.

    Args:
        numbers: See ``TableEncoder``.
        categories: See ``TableEncoder``.
        flagged: See ``TableEncoder``; a missing number is a bin of its own in any case.
        table: "full", "hash", "quotient" or "pruned"; fields of ``LARGE`` values or fewer are full.
        ratio: Values a row of "hash", and of the two tables of "quotient" together; above 1.
        dim: Width of a field's vector, k.
        core: "logistic", "fm" or "deepfm".
        gates: Learn how much each field counts.
        cross: Two categorical columns whose pairs get vectors of their own, hashed to ``LARGE`` x 100 rows.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Mapping[str, int],
        flagged: Sequence[str] = (),
        *,
        table: Literal["full", "hash", "quotient", "pruned"] = "full",
        ratio: float = 8.0,
        dim: int = 8,
        core: Literal["logistic", "fm", "deepfm"] = "deepfm",
        gates: bool = False,
        cross: Sequence[str] | None = None,
    ) -> None:
        if table not in TABLES:
            raise unknown("table", table, TABLES)
        if core not in CORES:
            raise unknown("core", core, CORES)
        if ratio <= 1 or dim < 1:
            raise BadInput(f"ClickEncoder needs a ratio above 1 and dim of 1 or more; got {ratio} and {dim}.")
        super().__init__(numbers, categories, flagged, embedding=1)
        self.core, self.dim, names = core, dim, list(categories)
        for name in cross or ():
            if name not in names:
                raise unknown("column to cross", name, names)
        self.pair = [names.index(name) for name in cross] if cross else []
        sizes = [count + 2 for count in categories.values()] + [BINS + 1] * len(self.numbers)
        if self.pair:
            sizes.append(min(100 * LARGE, math.prod(sizes[i] for i in self.pair)))
        self.sizes = sizes
        # the last number of a vector is the field's own weight
        self.tables = nn.ModuleList(
            TABLES[table if size > LARGE else "full"](size, dim + 1, math.ceil(size / ratio))
            for size in sizes
        )
        self.gates = FieldGates(len(sizes)) if gates else None
        self.bias = nn.Parameter(torch.zeros(()))
        self.deep = mlp(len(sizes) * dim, 64, 64, 1, norm=False) if core == "deepfm" else None
        self.out_dim = len(sizes) * dim
        self.register_buffer("edges", torch.zeros(len(self.numbers), BINS - 1))

    edges: Tensor

    def learn_columns(self, source: TableSource) -> None:
        super().learn_columns(source)
        values = self.scaled(source.batch(torch.arange(len(source)).numpy()))
        shares = torch.linspace(0, 1, BINS + 1)[1:-1]
        if self.numbers:
            self.edges.copy_(values.nanquantile(shares, dim=0).T)

    def fields(self, batch: TableBatch) -> list[Tensor]:
        """Return each field's values ``(B,)`` int64."""
        codes = self.codes(batch)
        scaled = self.scaled(batch)
        for i in range(len(self.numbers)):
            place = torch.bucketize(scaled[:, i].contiguous(), self.edges[i])
            codes.append(torch.where(scaled[:, i].isnan(), BINS, place))
        if self.pair:
            first, second = (codes[i] for i in self.pair)
            codes.append((first * self.sizes[self.pair[1]] + second) % self.sizes[-1])
        return codes

    def vectors(self, batch: TableBatch) -> Tensor:
        """Return the gated vectors ``(B, F, k + 1)``."""
        each = [table(value) for table, value in zip(self.tables, self.fields(batch), strict=True)]
        vectors = torch.stack(each, 1)
        return vectors if self.gates is None else vectors * self.gates(len(vectors))[:, :, None]

    def forward(self, batch: TableBatch) -> Tensor:
        return self.vectors(batch)[:, :, :-1].flatten(1)

    def logit(self, batch: TableBatch) -> Tensor:
        """Return ``(B,)``: a weight a value, the fields' products, and a network on all of them."""
        vectors = self.vectors(batch)
        logit = self.bias + vectors[:, :, -1].sum(1)
        vectors = vectors[:, :, :-1]
        if self.core != "logistic":
            logit = logit + fm(vectors)
        return logit if self.deep is None else logit + self.deep(vectors.flatten(1))[:, 0]
