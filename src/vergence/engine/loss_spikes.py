"""Loss spikes: a loss far above the last ones."""

from __future__ import annotations

import statistics
from collections import deque

REMEMBERED = 50  # values
FEWEST = 10  # values, below which nothing is said


class LossSpikes:
    """Compares each loss with the median of the last ones, in units of their median absolute deviation."""

    def __init__(self) -> None:
        self.losses = deque[float](maxlen=REMEMBERED)

    def note(self, loss: float) -> str:
        """Remember a loss; return a sentence if it jumped, else nothing."""
        note = ""
        if len(self.losses) >= FEWEST:
            middle = statistics.median(self.losses)
            spread = statistics.median(abs(known - middle) for known in self.losses)
            if loss - middle > 10 * spread + 0.1 * abs(middle):
                note = f"the loss jumped to {loss:.3g} from {middle:.3g}."
        self.losses.append(loss)
        return note
