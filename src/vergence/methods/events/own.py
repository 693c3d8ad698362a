"""Networks of the user's own as event encoders: they get histories side by side."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vergence.data.events import EventBatch
from vergence.methods.events.encoders import EventEncoder, build, padded
from vergence.nets.own import Own, answer, own_module, rebuilt, width_of_answer


class HistoryEncoder(EventEncoder):
    """A network of the user's own that reads event histories.

    It gets events ``(B, T, width)`` float32, zero after a history's end, and, if its ``forward`` takes an
    argument ``lengths``, the number of events ``(B,)`` int64. It answers with vectors ``(B, D)``.

    Args:
        categories: See ``EventEncoder``.
        numbers: See ``EventEncoder``.
        flagged: See ``EventEncoder``.
        own: The network, its spec, or what makes it of the width.
        embedding: Width of a category's vector.
        noise: On those vectors, in training.

    Attributes:
        net: The network.

    Raises:
        BadInput: If it cannot read such histories, or answers with something else.
    """

    def __init__(
        self,
        categories: Mapping[str, int],
        numbers: Sequence[str],
        flagged: Sequence[str] = (),
        *,
        own: Own,
        embedding: int = 16,
        noise: float = 0.003,
    ) -> None:
        super().__init__(categories, numbers, flagged, embedding=embedding, noise=noise)
        self.net = own_module(own, self.width)
        gets = (
            f"events (2, 3, {self.width}), float32, of two histories, and their lengths if it takes lengths"
        )
        example = torch.zeros(2, 3, self.width)
        self.out_dim = width_of_answer(self._read_events, self.net, example, gets)

    def _anew(self) -> EventEncoder | None:
        return rebuilt(self, build)

    def _read_events(self, events: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            lengths = torch.full((len(events),), events.shape[1], device=events.device)
        takes = "lengths" in inspect.signature(self.net.forward).parameters
        output = self.net(events, lengths=lengths) if takes else self.net(events)
        return answer(output, self.net, len(events)).pooled

    def forward(self, batch: EventBatch) -> Tensor:
        events, _ = padded(self.events(batch), batch.offsets)
        return self._read_events(events, batch.lengths)
