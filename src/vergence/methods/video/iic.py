"""Self-supervised Video Representation Learning Using Inter-intra Contrastive Framework (IIC).

arXiv:2008.02531.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from vergence.core import BadInput, Method, Recipe, unknown
from vergence.data.source import Source
from vergence.data.video.batch import VideoBatch
from vergence.engine.distributed import gather
from vergence.methods.video.views import one_stretch
from vergence.nets.memory import MemoryBank
from vergence.nets.video_encoder import VideoEncoder
from vergence.views.clips import frames_of, quarters_swapped, repeated, residual_clip

Broken = Literal["repeat", "shuffle"]


@dataclass(frozen=True, slots=True)
class Views:
    """What a step sees.

    Args:
        clips: ``(B, T, 3, S, S)`` in [0, 1].
        changes: The same clips as residual frames.
        broken: The same clips without their motion.
        rows: ``(B, 1 + K)`` int64, rows of the memories: each clip's own, then those of others.
    """

    clips: Tensor
    changes: Tensor
    broken: Tensor
    rows: Tensor


class IIC(Method):
    """Match a clip with its residual frames, and tell it from itself with its time broken.

    Tao, Wang, Yamasaki 2020, arXiv:2008.02531. Other clips are told apart by how they look. The clip with one
    frame repeated, or two of its quarters in each other's place, looks the same: only motion tells it.

    Differs from the paper: the second view is residual frames, one of its three (the others are channels of
    flow); the first residual frame shows no change, where the released code's is the difference from the
    last one; a clip's own row is never drawn among the others. A clip is cut at one scale of several and not
    warped; the paper's frames are brought to 128 x 171 and cut to 112 x 112. The paper's R3D has one block a
    stage.

    Args:
        encoder: Maps clips ``(B, T, 3, S, S)`` to ``(B, D)`` or ``Features``.
        negatives: K, rows of other clips that each is told from, of each memory.
        temperature: Divides the cosine similarities; above 0.
        momentum: Share of a row of the memories that is kept when its clip is seen, in [0, 1).
        broken: What takes the motion away: "repeat" one frame, or "shuffle" two quarters of the clip's time.
        intra: Whether there are clips without motion to be told from; without, this is contrast of two views.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.01, batch=16, epochs=240, weight_decay=1e-4,
        schedule="steps", milestones=(45 / 240, 90 / 240, 125 / 240, 160 / 240), gamma=0.2,
    )  # fmt: skip
    encoder: VideoEncoder

    def __init__(
        self,
        encoder: VideoEncoder,
        *,
        negatives: int = 1024,
        temperature: float = 0.07,
        momentum: float = 0.5,
        broken: Broken = "repeat",
        intra: bool = True,
    ) -> None:
        super().__init__(encoder)
        if negatives < 1 or temperature <= 0:
            raise BadInput(
                f"IIC needs 1 or more negatives and a temperature above 0; got {negatives} and {temperature}."
            )
        if not 0 <= momentum < 1:
            raise BadInput(f"IIC needs momentum in [0, 1); got {momentum}.")
        if broken not in ("repeat", "shuffle"):
            raise unknown("way to break a clip's time", str(broken), ("repeat", "shuffle"))
        if broken == "shuffle" and encoder.frames < 4:
            raise BadInput(f"IIC shuffles quarters of clips of 4 frames or more; got {encoder.frames}.")
        self.crop = one_stretch(encoder.size, encoder.frames, encoder.read)
        self.negatives, self.temperature, self.broken, self.intra = negatives, temperature, broken, intra
        self.memories = torch.nn.ModuleDict(  # a unit row a clip
            {view: MemoryBank(encoder.out_dim, momentum) for view in ("clips", "changes", "broken")}
        )
        self.seen: list[tuple[Tensor, ...]] = []

    def setup(self, source: Source) -> None:
        """Give every clip of ``source`` random unit rows in the memories."""
        self.count = len(source)
        for bank in self.banks.values():
            bank.start(len(source), self.encoder.mean.device)

    @property
    def banks(self) -> dict[str, MemoryBank]:
        """The memories, by the view whose codes they keep."""
        return {name: cast(MemoryBank, bank) for name, bank in self.memories.items()}

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = self.crop.with_options(options)

    def views(self, batch: VideoBatch) -> Views:
        clips = self.crop(batch)[0].pixels
        b, t = clips.shape[:2]
        breaks = repeated if self.broken == "repeat" else quarters_swapped
        own, others = batch.index[:, None], max(1, self.count - 1)
        drawn = torch.randint(others, (b, self.negatives), device=clips.device)
        drawn = (own + 1 + drawn) % self.count  # any but the own
        broken = frames_of(clips, breaks(b, t, device=clips.device))
        return Views(clips, residual_clip(clips), broken, torch.cat([own, drawn], 1))

    def code(self, clips: Any) -> Tensor:
        """Return f: unit vectors ``(B, D)``."""
        return normalize(self.encode(clips).float(), dim=1)

    def loss(self, views: Views) -> dict[str, Tensor]:
        memories = {name: bank.rows for name, bank in self.banks.items() if bank.rows is not None}
        if len(memories) < len(self.banks):
            raise ValueError("IIC needs its memories before the first loss; call setup(source).")
        first, second = self.code(views.clips), self.code(views.changes)
        with torch.no_grad():  # its place is in the memory alone
            still = self.code(views.broken) if self.intra else first.detach()
        self.seen.append((views.rows[:, 0], first.detach(), second.detach(), still))
        return {
            "clips": self.told_apart(first, views.rows, memories["changes"], memories["broken"]),
            "changes": self.told_apart(second, views.rows, memories["clips"], memories["broken"]),
        }

    def told_apart(self, codes: Tensor, rows: Tensor, other: Tensor, broken: Tensor) -> Tensor:
        """Return the cost of finding each clip's own row of the other view, in nats.

        Args:
            codes: ``(B, D)`` unit vectors of one view.
            rows: ``(B, 1 + K)``, the own one first.
            other: ``(N, D)``, memory of the other view.
            broken: ``(N, D)``, memory of clips without motion; the own one is a negative too.
        """
        keys = torch.cat([other[rows], broken[rows]], 1) if self.intra else other[rows]
        scores = torch.einsum("bkd,bd->bk", keys, codes) / self.temperature
        self.watch("own_share", scores.softmax(1)[:, 0].mean())
        return cross_entropy(scores, torch.zeros_like(rows[:, 0]))

    @torch.no_grad()
    def step_end(self, clock: Any) -> None:
        """Move the rows of the clips just seen towards their codes; all processes alike."""
        if self.seen:
            index, *codes = (gather(torch.cat(parts)) for parts in zip(*self.seen, strict=True))
            self.seen.clear()
            for bank, seen in zip(self.banks.values(), codes, strict=True):
                bank.write(index, seen)
