"""Event encoders: fields become vectors, a GRU or a transformer reads them, one vector an entity."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, unknown
from vergence.core.specs import class_at, is_place, own_spec
from vergence.data.events import EventBatch, EventSource
from vergence.methods.events.fields import LOOKED_AT, FieldReader, few
from vergence.nets.gru import GRU

WORDS = 10_000  # most categories a field that get a vector of their own; rarer ones share "unseen"


class EventEncoder(FieldReader):
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
        super().__init__(categories, numbers, flagged)
        self.noise = noise
        self.tables = nn.ModuleList(nn.Embedding(count + 2, embedding) for count in categories.values())
        self.width = embedding * len(categories) + len(self.mean) + len(self.flagged)

    def fresh(self) -> EventEncoder | None:
        """Return the same network with new random weights that knows the same words and scales."""
        new = self._anew()
        if new is not None:
            new.load_state_dict({**new.state_dict(), **dict(self.named_buffers())}, strict=True)
        return new

    def _anew(self) -> EventEncoder | None:
        return build(**self.spec)

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
