"""Table encoders: columns become one vector of numbers, a network makes of it one vector a row."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import BadInput, unknown
from vergence.core.specs import class_at, is_place, own_spec
from vergence.data.tables.batch import Columns, TableBatch
from vergence.data.tables.source import TableSource
from vergence.nets import mlp

WORDS = 10_000  # most categories a column that get a vector of their own; rarer ones share "unseen"
FARTHEST = 10.0  # deviations; a number farther out is brought there
MISSING, UNSEEN = 0, 1  # codes; known categories follow
LEARNED = ("mean", "deviation", "edges")  # what an encoder takes from a source at once, beside words


class TableEncoder(nn.Module):
    """Rows of M numbers and C categories -> ``(B, out_dim)``; as it is, ``(B, width)`` without a network.

    Numbers are scaled by the mean and deviation of the training rows (by one deviation for all where
    they are of one unit), and a missing one is the mean, with a flag beside it where training had
    missing ones. Categories become learned vectors, one table a column; those never seen in training,
    and those rarer than the ``WORDS`` most frequent, share one.

    Words and scales travel with the weights, so that another table with the same columns is read alike.

    Args:
        numbers: Names of the numeric columns.
        categories: Names of the categorical columns, and how many categories each knows.
        flagged: Those of the numeric ones that come with a flag for missing values.
        embedding: Width of a category's vector.

    Attributes:
        offsets: What had been subtracted from the numbers of the training rows, by column; see ``Columns``.
    """

    out_dim: int
    offsets: dict[str, float]
    spec: dict[str, Any]
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Mapping[str, int],
        flagged: Sequence[str] = (),
        *,
        embedding: int = 16,
    ) -> None:
        super().__init__()
        self.numbers, self.categories, self.flagged = list(numbers), dict(categories), list(flagged)
        self.tables = nn.ModuleList(nn.Embedding(count + 2, embedding) for count in categories.values())
        for i, count in enumerate(categories.values()):
            self.register_buffer(f"words_{i}", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(len(self.numbers)))
        self.register_buffer("deviation", torch.ones(len(self.numbers)))
        places = {name: i for i, name in enumerate(self.numbers)}
        self.flags = [places[name] for name in self.flagged]
        self.width = self.out_dim = len(self.numbers) + len(self.flagged) + embedding * len(categories)
        self.offsets = {}
        self._read: dict[Columns, tuple[list[int], list[int], list[Tensor]]] = {}

    @torch.no_grad()
    def learn_columns(self, source: TableSource) -> None:
        """Take words and scales from a source's own rows."""
        columns = source.columns
        for i, (name, count) in enumerate(self.categories.items()):
            words = words_of(source, name)[:count]
            getattr(self, f"words_{i}").copy_(
                torch.tensor([_hash(word) for word in words], dtype=torch.int64)
            )
        if self.numbers:
            values = torch.from_numpy(source.numeric).double()
            values = values[:, [columns.places[name] for name in self.numbers]]
            if shift := self._differences(columns):
                values = values + torch.tensor(shift, dtype=torch.float64)
            mean = values.nanmean(0)
            variance = (values - mean).square().nanmean(0)
            if columns.one_unit:
                variance = variance.nanmean().expand_as(variance)
            deviation = variance.sqrt()
            self.mean.copy_(mean.nan_to_num(0.0))
            self.deviation.copy_(torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1.0))

    def fresh(self) -> TableEncoder | None:
        """Return the same network with new random weights that knows the same words and scales, if any."""
        if not any(True for _ in self.parameters()):  # fitted: nothing was there before
            return None
        new = self._anew()
        if new is None:
            return None
        known = {name for name in self.state_dict() if name in LEARNED or name.startswith("words_")}
        new.load_state_dict(
            {**new.state_dict(), **{n: v for n, v in self.state_dict().items() if n in known}}
        )
        return new

    def _anew(self) -> TableEncoder | None:
        return build(**self.spec)

    def scaled(self, batch: TableBatch) -> Tensor:
        """Return scaled numbers ``(B, M)``, NaN where missing."""
        values = batch.numeric[:, self._reading(batch)[0]]
        if shift := self._differences(batch.columns):
            values = values + values.new_tensor(shift)
        return ((values - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST)

    def _differences(self, columns: Columns) -> list[float]:
        """Return how much more was subtracted from each number than in training; [] where nothing was."""
        if not columns.offsets and not self.offsets:
            return []
        return [columns.offset(name) - self.offsets.get(name, 0.0) for name in self.numbers]

    def codes(self, batch: TableBatch) -> list[Tensor]:
        """Return each column's categories ``(B,)`` int64: 0 missing, 1 unseen, then the encoder's words."""
        _, columns, tables = self._reading(batch)
        return [
            table.to(batch.categorical.device)[batch.categorical[:, k].long()]
            for k, table in zip(columns, tables, strict=True)
        ]

    def cells(self, batch: TableBatch) -> Tensor:
        """Return one vector a row, ``(B, width)`` float32: numbers, flags, then the categories' vectors."""
        scaled = self.scaled(batch)
        known = [table(code) for table, code in zip(self.tables, self.codes(batch), strict=True)]
        return torch.cat([scaled.nan_to_num(0.0), scaled[:, self.flags].isnan().float(), *known], 1)

    def forward(self, batch: TableBatch) -> Tensor:
        return self.cells(batch)

    def _reading(self, batch: TableBatch) -> tuple[list[int], list[int], list[Tensor]]:
        """Translate a table's columns and codes into the encoder's, once a table."""
        columns = batch.columns
        if columns not in self._read:
            kinds = ((self.numbers, columns.numeric), (list(self.categories), columns.categorical))
            for names, known in kinds:
                given = set(known)
                if (missing := next((name for name in names if name not in given), None)) is not None:
                    raise unknown("column: the encoder was trained with", missing, known)
            places = [columns.categorical.index(name) for name in self.categories]
            tables = [self._translation(i, columns.words[k]) for i, k in enumerate(places)]
            self._read = {columns: ([columns.places[name] for name in self.numbers], places, tables)}
        return self._read[columns]

    def _translation(self, i: int, words: Sequence[str]) -> Tensor:
        known = {word: code for code, word in enumerate(getattr(self, f"words_{i}").tolist(), UNSEEN + 1)}
        return torch.tensor([MISSING, *(known.get(_hash(word), UNSEEN) for word in words)])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": {}}  # the words of a table need no copies


class MLPEncoder(TableEncoder):
    """Layers of one width with ReLU in between (SCARF, arXiv:2106.15147: four of 256).

    Args:
        numbers: See ``TableEncoder``.
        categories: See ``TableEncoder``.
        flagged: See ``TableEncoder``.
        dim: Width of the layers and of the embedding.
        layers: How many, 1 or more.
        embedding: Width of a category's vector.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Mapping[str, int],
        flagged: Sequence[str] = (),
        *,
        dim: int = 256,
        layers: int = 4,
        embedding: int = 16,
    ) -> None:
        if min(dim, layers) < 1:
            raise BadInput(f"An mlp needs a width and layers of 1 or more; got {dim} and {layers}.")
        super().__init__(numbers, categories, flagged, embedding=embedding)
        self.net = mlp(self.width, *[dim] * layers, norm=False)
        self.out_dim = dim

    def forward(self, batch: TableBatch) -> Tensor:
        return self.net(self.cells(batch))


class LinearEncoder(TableEncoder):
    """One linear map of the row, as principal components are.

    Args:
        numbers: See ``TableEncoder``.
        categories: See ``TableEncoder``.
        flagged: See ``TableEncoder``.
        dim: Width of the embedding.
        embedding: Width of a category's vector.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Mapping[str, int],
        flagged: Sequence[str] = (),
        *,
        dim: int = 32,
        embedding: int = 16,
    ) -> None:
        super().__init__(numbers, categories, flagged, embedding=embedding)
        self.map = nn.Linear(self.width, dim)
        self.out_dim = dim

    def forward(self, batch: TableBatch) -> Tensor:
        return self.map(self.cells(batch))


ENCODERS: dict[str, Callable[..., TableEncoder]] = {
    "mlp": MLPEncoder,
    "linear": LinearEncoder,
    "raw": TableEncoder,
}


def names() -> list[str]:
    """Return every name that ``build`` knows."""
    return sorted(ENCODERS)


def build(
    name: str | None = None,
    *,
    numbers: Sequence[str],
    categories: Mapping[str, int],
    flagged: Sequence[str] = (),
    offsets: Mapping[str, float] | None = None,
    size: int | None = None,
    **options: Any,
) -> TableEncoder:
    """Make an encoder that has yet to learn its columns' words and scales.

    Args:
        name: One of ``names()``; None takes "mlp". A paper's own encoder goes by its class,
            "vergence.methods.tables.KEY:Class".
        numbers: Names of the numeric columns.
        categories: Names of the categorical columns, and how many categories each knows.
        flagged: Those of the numeric ones that come with a flag for missing values.
        offsets: See ``TableEncoder``; None where nothing had been subtracted.
        size: Of images; None.
        **options: Of the network itself, such as ``dim``.

    Raises:
        BadInput: If the name or an option does not exist.

    >>> build("mlp", numbers=["age"], categories={"town": 30}, dim=64).out_dim
    64
    """
    name = name or "mlp"
    made: Any = class_at(name) if is_place(name) else ENCODERS.get(name)
    if made is None:
        raise unknown("table encoder", name, names())
    known = [p for p in inspect.signature(made).parameters if p not in ("numbers", "categories", "flagged")]
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    columns = {"numbers": list(numbers), "categories": dict(categories), "flagged": list(flagged)}
    encoder: TableEncoder = made(**columns, **options)
    encoder.spec = {"name": name, "size": None, **columns, **options}
    if offsets:
        encoder.offsets = encoder.spec["offsets"] = dict(offsets)
    return encoder


def for_source(
    source: TableSource, name: str | None = None, *, size: int | None = None, **options: Any
) -> TableEncoder:
    """Make the encoder that suits a source's columns, and let it learn their words and scales.

    Args:
        source: Of table rows.
        name: As in ``build``.
        size: Must be None: rows have no side.
        **options: As in ``build``; a paper's own encoder may take more from the source in its
            classmethod ``of_source``.

    Raises:
        BadInput: As ``build`` does, and for a ``size``.
    """
    if size is not None:
        raise BadInput(f"{source.uri} holds rows of a table, which have no size in pixels; leave --size out.")
    columns = source.columns
    if is_place(name) and hasattr(own := class_at(name), "of_source"):
        options = {**own.of_source(source), **options}
    missing = np.isnan(source.numeric).any(0).tolist()
    encoder = build(
        name,
        numbers=list(columns.numeric),
        categories={name: min(WORDS, len(words_of(source, name))) for name in columns.categorical},
        flagged=[name for name, some in zip(columns.numeric, missing, strict=True) if some],
        offsets={name: offset for name in columns.numeric if (offset := columns.offset(name))},
        **options,
    )
    encoder.learn_columns(source)
    return encoder


def adapt(make: Callable[[int], nn.Module], source: TableSource, *, size: int | None = None) -> TableEncoder:
    """Return a network of the user's own as an encoder: it gets rows ``(B, width)``; see ``own.CellEncoder``.

    Args:
        make: From the width of the rows to the network.
        source: Of table rows.
        size: Must be None.

    Raises:
        BadInput: If it cannot read them, or answers with something else than a vector a row.
    """
    encoder = for_source(source, "vergence.methods.tables.own:CellEncoder", size=size, own=make)
    encoder.spec["own"] = own_spec(encoder.net)  # type: ignore[arg-type]
    return encoder


def words_of(source: TableSource, column: str) -> list[str]:
    """Return the categories that occur in a source's own rows, in the order of their codes."""
    place = source.columns.categorical.index(column)
    present = np.unique(source.values.categorical[source.rows, place])
    return [source.columns.words[place][code - 1] for code in present.tolist() if code]


@torch.no_grad()
def cells(source: TableSource, *, what: str) -> tuple[TableEncoder, np.ndarray]:
    """Return the scaled numbers of a source as float64, and the encoder that made them.

    Args:
        source: Of numeric columns only.
        what: Who asks, for errors.

    Raises:
        BadInput: If there are categorical columns.
    """
    if source.columns.categorical:
        raise BadInput(
            f"{what} takes columns of numbers; {source.uri} has categories as well "
            f"({', '.join(source.columns.categorical[:5])}). Leave them out: table:FILE?categorical="
        )
    encoder = for_source(source, "raw")
    return encoder, encoder(source.batch(np.arange(len(source)))).double().numpy()


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little", signed=True)
