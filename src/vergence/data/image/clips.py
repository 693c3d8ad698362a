"""Clips: which pictures of a source show one thing in turn, and the pictures beside a given one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.core.features import InputSpec
from vergence.data.image.batch import ImageBatch
from vergence.data.image.source import ImageSource


class Clips:
    """The clips of a source: frames of a video, views from a turntable or along a camera's path.

    A clip is the pictures of one ``group``, where the source has this target, else those of one folder; they
    follow each other as their rows do. In a clip that is too short for what is asked, pictures repeat.

    Args:
        source: Of pictures.
        who: The method that needs clips, for errors.
        least: Pictures that the longest clip must have.

    Attributes:
        of: ``(n,)`` int64, the clip of each row, counted from 0.
        place: ``(n,)`` int64, which picture of its clip a row is, counted from 0.
        length: ``(clips,)`` int64, pictures of each.

    Raises:
        BadInput: If the source does not say which pictures are of one clip, or all clips are too short.
    """

    def __init__(self, source: ImageSource, who: str, *, least: int = 2) -> None:
        self.source = source
        self.of = torch.from_numpy(_clip_of(source, who))
        self.length = torch.bincount(self.of)
        if (longest := int(self.length.max())) < least:
            raise BadInput(
                f"{who} needs clips of {least} pictures or more; the longest of {source.uri} has {longest}."
            )
        self._rows = torch.argsort(self.of, stable=True)  # clip by clip
        self._first = self.length.cumsum(0) - self.length
        self.place = torch.empty_like(self.of)
        self.place[self._rows] = torch.arange(len(self.of)) - self._first.repeat_interleave(self.length)

    def rows(self, clip: Tensor, place: Tensor) -> Tensor:
        """Return the rows of pictures ``place`` of clips; beyond a clip's ends its first and last."""
        place = torch.minimum(place, self.length[clip] - 1).clamp_min(0)
        return self._rows[self._first[clip] + place]

    def partners(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return rows ``(B,)`` drawn evenly from the clips of rows ``index (B,)``, themselves included."""
        clip = self.of[index.cpu()]
        return self.rows(clip, (torch.rand(len(clip), generator=generator) * self.length[clip]).long())

    def apart(self, index: Tensor, least: int) -> Tensor:
        """Return rows ``(B,)`` drawn from the clips of rows ``index (B,)``, ``least`` pictures away or more.

        Where a clip has none so far away, its end that is farther.
        """
        index = index.cpu()
        clip, place = self.of[index], self.place[index]
        last = self.length[clip] - 1
        before, after = (place - least + 1).clamp_min(0), (last - place - least + 1).clamp_min(0)
        drawn = (torch.rand(len(clip)) * (before + after)).long()
        chosen = torch.where(drawn < before, drawn, drawn - before + place + least)
        farther = torch.where(2 * place < last, last, 0)
        return self.rows(clip, torch.where(before + after > 0, chosen, farther))

    def triplets(self, index: Tensor, step: int = 1) -> Tensor:
        """Return rows ``(3, B)``: left, centre and right, ``step`` pictures apart in one clip.

        The centre is the row of ``index (B,)``, or the nearest to it that has a picture on both sides.
        """
        index = index.cpu()
        clip, place = self.of[index], self.place[index]
        centre = torch.minimum(place, self.length[clip] - 1 - step).clamp_min(step)
        return torch.stack([self.rows(clip, centre + shift) for shift in (-step, 0, step)])

    def read(self, rows: Tensor, batch: ImageBatch, spec: InputSpec | None = None) -> ImageBatch:
        """Return the pictures of ``rows (B,)``, with targets, where ``batch`` lies.

        What cannot be read is replaced by the picture of ``batch`` at its place.

        Args:
            rows: Of the source.
            batch: Of as many pictures.
            spec: See ``Source.loader``.
        """
        wanted = rows.numpy().copy()
        present = self._present(wanted, spec)
        if present is None or len(present) < len(wanted):
            missing = np.ones(len(wanted), bool)
            if present is not None:
                missing[present.index.numpy()] = False
            wanted[missing] = batch.index.cpu().numpy()[missing]
            present = self._present(wanted, spec)
            assert present is not None
        return replace(present, index=torch.from_numpy(wanted)).to(batch.pixels.device)

    def _present(self, rows: np.ndarray, spec: InputSpec | None) -> ImageBatch | None:
        part = self.source.subset(rows)
        part.skipped = self.source.skipped
        return next(part.loader(len(rows), spec=spec), None)


def _clip_of(source: ImageSource, who: str) -> np.ndarray:
    """Return the clip ``(n,)`` of each row, counted from 0."""
    if "group" in source.targets:
        named = source.target("group").values.numpy()  # type: ignore[attr-defined]
    else:
        named = np.array([name.rpartition("/")[0] for name in source.names])
        if not (named != "").any():
            raise BadInput(
                f"{who} learns from clips, and {source.uri} does not say which pictures are of one: put the "
                'frames of each into a folder of its own, or give targets={"group": ...} with pictures in '
                "memory."
            )
    return np.unique(named, return_inverse=True)[1].reshape(-1).astype(np.int64)
