"""Fields of event histories as codes and scaled numbers, the same for every log with these columns."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import unknown
from vergence.data.events import EventBatch, EventSource, Fields

LOOKED_AT = 1_000_000  # events, at most, from which means and deviations are taken
TAILED = 10.0  # deviations to the largest value; beyond, a field is read on a logarithmic scale
FARTHEST = 10.0  # deviations; an amount farther out is brought there
MISSING, UNSEEN = 0, 1  # codes; known categories follow


class FieldReader(nn.Module):
    """Vocabulary and standardisation: events -> codes ``(N, C)`` and scaled numbers ``(N, M + 1)``.

    Categories get the codes of the training events' words; those never seen there share one. Numbers are
    scaled by the mean and deviation of the training events, on a logarithmic scale where the field has a
    heavy tail, and so is the time since the event before, as ``log(1 + gap)``. Words and scales are buffers:
    they travel with the weights.

    Args:
        categories: Names of the categorical fields, and how many categories each knows.
        numbers: Names of the numeric fields.
        flagged: Those of them that come with a flag for missing values.
    """

    mean: Tensor
    deviation: Tensor
    tailed: Tensor

    def __init__(
        self, categories: Mapping[str, int], numbers: Sequence[str], flagged: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.categories, self.numbers, self.flagged = dict(categories), list(numbers), list(flagged)
        for i, count in enumerate(categories.values()):
            self.register_buffer(f"words_{i}", torch.zeros(count, dtype=torch.int64))
        scales = len(self.numbers) + 1  # the gap is the last
        self.register_buffer("mean", torch.zeros(scales))
        self.register_buffer("deviation", torch.ones(scales))
        self.register_buffer("tailed", torch.zeros(len(self.numbers), dtype=torch.bool))
        self.offsets: dict[str, float] = {}
        self.flags = [self.numbers.index(name) for name in self.flagged]
        self._read: tuple[Fields, list[Tensor], list[int], list[int]] | None = None

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

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        read, self._read = self._read, None  # the words of a log need no copies
        try:
            new = object.__new__(type(self))
            memo[id(self)] = new
            new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        finally:
            self._read = read
        return new


def few(source: EventSource, events: int) -> EventBatch:
    """Return the whole histories of entities drawn at random, ``events`` of them in all or a little more."""
    rows = np.random.default_rng(0).permutation(len(source))
    lengths = np.diff(source.log.offsets)[source.rows[rows]]
    return source.batch(rows[: int(np.searchsorted(np.cumsum(lengths), events)) + 1])


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little", signed=True)
