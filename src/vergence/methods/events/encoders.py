"""Event encoders: fields become vectors, a GRU or a transformer reads them, one vector an entity."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import BadInput, unknown
from vergence.core.specs import class_at, is_place, own_spec
from vergence.data.events import EventBatch, EventSource, Fields
from vergence.nets.gru import GRU

WORDS = 10_000  # most categories a field that get a vector of their own; rarer ones share "unseen"
LOOKED_AT = 1_000_000  # events, at most, from which means and deviations are taken
TAILED = 10.0  # deviations to the largest value; beyond, a field is read on a logarithmic scale
FARTHEST = 10.0  # deviations; an amount farther out is brought there
MISSING, UNSEEN = 0, 1  # codes; known categories follow


class EventEncoder(nn.Module):
    """Events ``(N fields)`` of B histories -> ``(B, out_dim)``.

    Categories become learned vectors, one table a field; those never seen in training, and those
    rarer than the ``WORDS`` most frequent, share one. Numbers are scaled by the mean and deviation of
    the training events, on a logarithmic scale where the field has a heavy tail, and a missing one is
    the mean, with a flag beside it where training had missing ones. The time since the event before
    comes in as ``log(1 + gap)``, scaled likewise. The date itself never does.

    Words and scales travel with the weights, so that another log with the same columns is read alike.

    Args:
        categories: Names of the categorical fields, and how many categories each knows.
        numbers: Names of the numeric fields.
        flagged: Those of them that come with a flag for missing values.
        embedding: Width of a category's vector.
        noise: Deviation of the noise on those vectors in training.
    """

    out_dim: int
    spec: dict[str, Any]

    def __init__(
        self,
        categories: Mapping[str, int],
        numbers: Sequence[str],
        flagged: Sequence[str] = (),
        *,
        embedding: int = 16,
        noise: float = 0.003,
    ) -> None:
        super().__init__()
        self.categories, self.numbers, self.flagged = dict(categories), list(numbers), list(flagged)
        self.noise = noise
        self.tables = nn.ModuleList(nn.Embedding(count + 2, embedding) for count in categories.values())
        for i, count in enumerate(categories.values()):
            self.register_buffer(f"words_{i}", torch.zeros(count, dtype=torch.int64))
        scales = len(self.numbers) + 1  # the gap is the last
        self.register_buffer("mean", torch.zeros(scales))
        self.register_buffer("deviation", torch.ones(scales))
        self.register_buffer("tailed", torch.zeros(len(self.numbers), dtype=torch.bool))
        self.offsets: dict[str, float] = {}
        self.flags = [self.numbers.index(name) for name in self.flagged]
        self.width = embedding * len(categories) + scales + len(self.flagged)
        self._read: tuple[Fields, list[Tensor], list[int], list[int]] | None = None

    mean: Tensor
    deviation: Tensor
    tailed: Tensor

    @torch.no_grad()
    def learn_fields(self, source: EventSource) -> None:
        """Take words and scales from a source: from its own entities, a million events at most."""
        fields = source.log.fields
        for i, name in enumerate(self.categories):
            words = fields.words[fields.categorical.index(name)][: self.categories[name]]
            getattr(self, f"words_{i}").copy_(
                torch.tensor([_hash(word) for word in words], dtype=torch.int64)
            )
        some = few(source, LOOKED_AT)
        if self.numbers:
            values = some.numeric[:, [fields.numeric.index(name) for name in self.numbers]].double()
            values = values + values.new_tensor(self._differences(fields))
            centre = values.nanmean(0)
            spread = (values - centre).square().nanmean(0).sqrt()
            farthest = (values - centre).abs().nan_to_num(0.0).amax(0)
            self.tailed.copy_(farthest > TAILED * spread)
            self._scale(slice(0, len(self.numbers)), self._logged(values))
        self._scale(slice(len(self.numbers), None), torch.log1p(some.gap.double().clamp_min(0))[:, None])

    def _scale(self, part: slice, values: Tensor) -> None:
        mean = values.nanmean(0)
        deviation = (values - mean).square().nanmean(0).sqrt()
        self.mean[part] = mean.nan_to_num(0.0).float()
        self.deviation[part] = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1.0).float()

    def fresh(self) -> EventEncoder | None:
        """Return the same network with new random weights that knows the same words and scales."""
        new = self._anew()
        if new is not None:
            new.load_state_dict({**new.state_dict(), **dict(self.named_buffers())}, strict=True)
        return new

    def _anew(self) -> EventEncoder | None:
        return build(**self.spec)

    def codes(self, batch: EventBatch) -> Tensor:
        """Return categories ``(N, C)`` int64 in this encoder's numbers: 0 missing, 1 unseen, then its words.

        Raises:
            BadInput: If the log lacks a field that the encoder was trained with.
        """
        _, tables, columns, _ = self._reading(batch)
        if not columns:
            return batch.categorical.new_zeros((len(batch.gap), 0), dtype=torch.int64)
        return torch.stack(
            [
                table.index_select(0, batch.categorical[:, k])
                for table, k in zip(tables, columns, strict=True)
            ],
            1,
        )

    def values(self, batch: EventBatch) -> tuple[Tensor, Tensor]:
        """Return scaled numbers and gap ``(N, M + 1)``, 0 where missing, and where they are missing."""
        *_, columns = self._reading(batch)
        straight = columns == list(range(batch.numeric.shape[1]))
        numeric = batch.numeric if straight else batch.numeric[:, columns]
        if any(shift := self._differences(batch.fields)):
            numeric = numeric + numeric.new_tensor(shift)
        numeric = self._logged(numeric)
        values = torch.cat([numeric, torch.log1p(batch.gap.clamp_min(0))[:, None]], 1)
        values = (values - self.mean) / self.deviation
        return values.nan_to_num(0.0).clamp_(-FARTHEST, FARTHEST), values.isnan()

    def events(self, batch: EventBatch) -> Tensor:
        """Return one vector an event, ``(N, width)`` float32."""
        codes = self.codes(batch)
        known = (
            torch.cat([table(codes[:, i]) for i, table in enumerate(self.tables)], 1) if self.tables else None
        )
        if known is not None and self.training and self.noise:
            known = known + self.noise * torch.randn_like(known)
        values, missing = self.values(batch)
        parts = [values, missing[:, self.flags].float()] if self.flags else [values]
        return torch.cat(parts if known is None else [known, *parts], 1)

    def forward(self, batch: EventBatch) -> Tensor:
        """Return one vector a history, ``(B, out_dim)``."""
        raise NotImplementedError

    def _differences(self, fields: Fields) -> list[float]:
        """Return by how much more was subtracted from each number of a log than from the training events'."""
        return [fields.offset(name) - self.offsets.get(name, 0.0) for name in self.numbers]

    def _logged(self, numeric: Tensor) -> Tensor:
        return torch.where(self.tailed, numeric.sign() * numeric.abs().log1p(), numeric)

    def _reading(self, batch: EventBatch) -> tuple[Fields, list[Tensor], list[int], list[int]]:
        """Translate a log's codes into the encoder's, once a log."""
        device = batch.gap.device
        if (
            self._read is None
            or self._read[0] is not batch.fields
            or self.mean.device != device
            or (self._read[1] and self._read[1][0].device != device)
        ):
            fields = batch.fields
            for name, known in [(n, fields.categorical) for n in self.categories] + [
                (n, fields.numeric) for n in self.numbers
            ]:
                if name not in known:
                    raise unknown("field: the encoder was trained with", name, known)
            columns = [fields.categorical.index(name) for name in self.categories]
            tables = [self._table(i, fields.words[k]).to(device) for i, k in enumerate(columns)]
            self._read = fields, tables, columns, [fields.numeric.index(name) for name in self.numbers]
        return self._read

    def _table(self, i: int, words: Sequence[str]) -> Tensor:
        known = getattr(self, f"words_{i}").cpu().numpy()
        order = np.argsort(known)
        hashes = np.fromiter((_hash(word) for word in words), np.int64, len(words))
        at = np.minimum(np.searchsorted(known, hashes, sorter=order), max(0, len(known) - 1))
        code = np.full(len(words) + 1, UNSEEN)
        code[0] = MISSING
        if len(known):
            code[1:] = np.where(known[order[at]] == hashes, order[at] + 2, UNSEEN)
        return torch.from_numpy(code)

    def __deepcopy__(self, memo: dict[int, Any]) -> EventEncoder:
        read, self._read = self._read, None  # the words of a log need no copies
        try:
            new = object.__new__(type(self))
            memo[id(self)] = new
            new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        finally:
            self._read = read
        return new


class GRUEncoder(EventEncoder):
    """A gated recurrent unit reads the events in order; the last state is the embedding.

    Args:
        categories: See ``EventEncoder``.
        numbers: See ``EventEncoder``.
        flagged: See ``EventEncoder``.
        dim: Width of the state. CoLES takes 800, MLEM 512.
        embedding: Width of a category's vector.
        noise: On those vectors, in training.
    """

    def __init__(
        self,
        categories: Mapping[str, int],
        numbers: Sequence[str],
        flagged: Sequence[str] = (),
        *,
        dim: int = 256,
        embedding: int = 16,
        noise: float = 0.003,
    ) -> None:
        super().__init__(categories, numbers, flagged, embedding=embedding, noise=noise)
        self.out_dim = dim
        self.gru = GRU(self.width, dim)

    def forward(self, batch: EventBatch) -> Tensor:
        return self.gru(self.events(batch), batch.offsets)


class TransformerEncoder(EventEncoder):
    """A transformer reads the latest events, each seeing all; their mean is the embedding.

    Args:
        categories: See ``EventEncoder``.
        numbers: See ``EventEncoder``.
        flagged: See ``EventEncoder``.
        dim: Width.
        depth: Blocks.
        heads: Of attention; divides ``dim``.
        length: Events that are read, the latest ones; cost grows with their square.
        embedding: Width of a category's vector.
        noise: On those vectors, in training.
    """

    def __init__(
        self,
        categories: Mapping[str, int],
        numbers: Sequence[str],
        flagged: Sequence[str] = (),
        *,
        dim: int = 128,
        depth: int = 3,
        heads: int = 4,
        length: int = 256,
        embedding: int = 16,
        noise: float = 0.003,
    ) -> None:
        if dim % heads or dim % 2:
            raise BadInput(f"A transformer needs an even width that its heads divide; got {dim} and {heads}.")
        super().__init__(categories, numbers, flagged, embedding=embedding, noise=noise)
        self.out_dim, self.length = dim, length
        self.embed = nn.Linear(self.width, dim)
        block = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(dim), enable_nested_tensor=False)

    def forward(self, batch: EventBatch) -> Tensor:
        x, seen = padded(self.embed(self.events(batch)), batch.offsets, self.length)
        x = self.blocks(x + positions(x.shape[1], self.out_dim, x.device), src_key_padding_mask=~seen).float()
        return (x * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)


def padded(x: Tensor, offsets: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Return flat histories side by side, the latest events of each.

    Args:
        x: ``(N, D)``.
        offsets: ``(B + 1,)`` int64.
        length: Most events that are kept; None keeps all.

    Returns:
        ``(B, T, D)``, zero after a history's end, and ``(B, T)`` bool, where there is an event.
    """
    kept = offsets.diff() if length is None else offsets.diff().clamp_max(length)
    steps = torch.arange(int(kept.max()), device=x.device)
    seen = steps < kept[:, None]
    rows = ((offsets[1:] - kept)[:, None] + steps)[seen]
    out = x.new_zeros(*seen.shape, x.shape[1])
    out[seen] = x.index_select(0, rows)
    return out, seen


def positions(length: int, dim: int, device: torch.device) -> Tensor:
    """Return sines and cosines ``(length, dim)`` of the place in the history (arXiv:1706.03762, Sec. 3.5)."""
    rates = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000) / dim))
    angle = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], 1)


def few(source: EventSource, events: int) -> EventBatch:
    """Return the whole histories of entities drawn at random, ``events`` of them in all or a little more."""
    rows = np.random.default_rng(0).permutation(len(source))
    lengths = np.diff(source.log.offsets)[source.rows[rows]]
    return source.batch(rows[: int(np.searchsorted(np.cumsum(lengths), events)) + 1])


ENCODERS: dict[str, Callable[..., EventEncoder]] = {"gru": GRUEncoder, "transformer": TransformerEncoder}


def names() -> list[str]:
    """Return every name that ``build`` knows."""
    return sorted(ENCODERS)


def build(
    name: str | None = None,
    *,
    categories: Mapping[str, int],
    numbers: Sequence[str],
    flagged: Sequence[str] = (),
    offsets: Mapping[str, float] | None = None,
    size: int | None = None,
    **options: Any,
) -> EventEncoder:
    """Make an encoder that has yet to learn its fields' words and scales.

    Args:
        name: One of ``names()``; None takes "gru". "vergence.module:Class" is a class.
        categories: Names of the categorical fields, and how many categories each knows.
        numbers: Names of the numeric fields.
        flagged: Those of them that come with a flag for missing values.
        offsets: What had been subtracted from the numbers of the training events, by field; see ``Fields``.
        size: Of images; None.
        **options: Of the network itself, such as ``dim``.

    Raises:
        BadInput: If the name or an option does not exist.

    >>> build("gru", categories={"shop": 30}, numbers=["amount"], dim=64).out_dim
    64
    """
    name = name or "gru"
    made: Any = class_at(name) if is_place(name) else ENCODERS.get(name)
    if made is None:
        raise unknown("event encoder", name, ENCODERS)
    known = list(inspect.signature(made).parameters)
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known[3:])
    fields = {"categories": dict(categories), "numbers": list(numbers), "flagged": list(flagged)}
    encoder: EventEncoder = made(**fields, **options)
    encoder.spec = {"name": name, "size": None, **fields, **options}
    if offsets:
        encoder.offsets = encoder.spec["offsets"] = dict(offsets)
    return encoder


def for_source(
    source: EventSource, name: str | None = None, *, size: int | None = None, **options: Any
) -> EventEncoder:
    """Make the encoder that suits a source's fields, and let it learn their words and scales.

    Args:
        source: Of event histories.
        name: As in ``build``.
        size: Of images; None.
        **options: As in ``build``.
    """
    fields = source.log.fields
    missing = few(source, LOOKED_AT).numeric.isnan().any(0).tolist()
    encoder = build(
        name,
        categories={n: min(WORDS, len(w)) for n, w in zip(fields.categorical, fields.words, strict=True)},
        numbers=list(fields.numeric),
        flagged=[name for name, some in zip(fields.numeric, missing, strict=True) if some],
        offsets={name: offset for name in fields.numeric if (offset := fields.offset(name))},
        **options,
    )
    encoder.learn_fields(source)
    return encoder


def adapt(make: Callable[[int], nn.Module], source: EventSource, *, size: int | None = None) -> EventEncoder:
    """Return a network of the user's own as an encoder: it gets events ``(B, T, width)``; see ``own``.

    Args:
        make: From the width of an event to the network.
        source: Of event histories.
        size: Of images; None.

    Raises:
        BadInput: If it cannot read them, or answers with something else than a vector a history.
    """
    encoder = for_source(source, "vergence.methods.events.own:HistoryEncoder", own=make)
    encoder.spec["own"] = own_spec(encoder.net)  # type: ignore[arg-type]
    return encoder


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little", signed=True)
