"""Self-Supervised Learning of Pretext-Invariant Representations (PIRL), arXiv:1912.01991."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.data.source import Source
from vergence.engine.distributed import gather, rank, world
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.memory import MemoryBank
from vergence.nets.permutations import permuted, to_tiles
from vergence.views.pixels.augment import Augment, View

GRID = 3  # tiles along each side
OF_TILES = ("flip", "jitter", "jitter_p", "grey", "blur", "solarize")  # options that suit a tile too

Views = tuple[View, Tensor, Tensor]


class PIRL(Method):
    """Bring a photo and its shuffled tiles to one vector: features ignore what a puzzle would ask for.

    Misra, van der Maaten 2020, arXiv:1912.01991. A memory holds one vector a photo; the photo, and its nine
    tiles taken apart, are each to pick it out among the memories of other photos.

    Differs from the paper: hue is jittered by at most 1/6 of a turn, not 1/5; autocontrast and the other
    "photometric" operations of the released code are left out. Differs from that code: the sum over negatives
    in the denominator is Eq. 3's own, not its estimate from the first batch, and a photo's own memory is not
    among its negatives. Other sizes than 224 pixels scale the tiles (64 of 85 pixels).

    Args:
        encoder: Maps images of any size ``(B, 3, h, h)`` to ``(B, D)`` or ``Features``, as convolutions do.
        dim: Width of the vectors in the memory.
        temperature: τ, divides the cosines, above 0.
        momentum: Share of a memory that is kept when its photo is seen, in [0, 1).
        negatives: Memories of other photos drawn for each term and photo, at least 1.
        weight: λ of the tiles' term, in [0, 1]; the photo's has 1 - λ.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.12, batch=1024, epochs=800, weight_decay=1e-4, min_lr=1.2e-4,
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        dim: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.5,
        negatives: int = 32_000,
        weight: float = 0.5,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or negatives < 1 or not 0 <= weight <= 1:
            raise BadInput(
                "PIRL needs temperature > 0, 1 or more negatives and a weight in [0, 1]; "
                f"got {temperature}, {negatives} and {weight}."
            )
        self.temperature, self.negatives, self.weight = temperature, negatives, weight
        self.project = nn.Linear(encoder.out_dim, dim)  # of f
        self.project_tile = nn.Linear(encoder.out_dim, dim)  # of g, both
        self.project_tiles = nn.Linear(GRID**2 * dim, dim)
        self.memory = MemoryBank(dim, momentum)
        self.seen_codes: list[tuple[Tensor, Tensor]] = []
        size = image_size(encoder)
        cell, tile = round(85 / 224 * size), round(64 / 224 * size)
        colour: dict[str, Any] = {"jitter": (0.4, 0.4, 0.4, 1 / 6), "jitter_p": 1.0, "blur": 0.0}
        none: dict[str, Any] = {"flip": 0.0, "jitter_p": 0.0, "grey": 0.0, "blur": 0.0}
        share = (tile / cell) ** 2  # a tile is cut at any place of its cell
        self.crop = Augment(size, scale=(0.08, 1.0), **colour)
        self.crop_cells = Augment(GRID * cell, scale=(0.6, 1.0), **none)
        self.crop_tile = Augment(tile, scale=(share, share), ratio=(1.0, 1.0), **colour)

    def setup(self, source: Source) -> None:
        """Give every photo of ``source`` a random unit row in the memory."""
        if len(source) < 2:
            raise BadInput(f"PIRL tells photos apart and needs 2 or more; {source.uri} has {len(source)}.")
        self.memory.start(len(source), self.project.weight.device)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)
        own = {name: value for name, value in options.items() if name in OF_TILES}
        self.crop_tile = dataclasses.replace(self.crop_tile, **own)

    def views(self, batch: ImageBatch) -> Views:
        """Return a view of each photo, its tiles in random order ``(B, 9, 3, h, h)``, and its row."""
        tiles = self.tiles(batch)
        order = torch.rand(tiles.shape[:2], device=tiles.device).argsort(1)
        return self.crop(batch), permuted(tiles, order), batch.index

    def tiles(self, batch: ImageBatch) -> Tensor:
        """Cut a crop of each photo in tiles ``(B, 9, 3, h, h)`` with gaps, each with a colour of its own."""
        cells = to_tiles(self.crop_cells(batch).pixels, (GRID, GRID)).flatten(0, 1)
        rows = torch.arange(len(cells), device=cells.device)
        drawn = self.crop_tile(ImageBatch(cells.mul(255).round().to(torch.uint8), rows, rows))
        return drawn.pixels.unflatten(0, (-1, GRID**2))

    def image_code(self, images: Any) -> Tensor:
        """Return f: unit vectors ``(B, dim)`` of photos."""
        return normalize(self.project(self.encode(images)).float(), dim=1)

    def tiles_code(self, tiles: Tensor) -> Tensor:
        """Return g: unit vectors ``(B, dim)`` of tiles ``(B, 9, 3, h, h)`` that pass the encoder alone."""
        each = self.project_tile(self.encode(tiles.flatten(0, 1))).unflatten(0, (len(tiles), -1))
        return normalize(self.project_tiles(each.flatten(1)).float(), dim=1)

    def loss(self, views: Views) -> dict[str, Tensor]:
        view, tiles, index = views
        f, g = self.image_code(view), self.tiles_code(tiles)
        self.seen_codes.append((index, f.detach()))  # the memory follows the photo, not its tiles
        return {  # Eq. 5
            "tiles": self.weight * self.contrast(g, index, term=0),
            "image": (1 - self.weight) * self.contrast(f, index, term=1),
        }

    def contrast(self, code: Tensor, index: Tensor, *, term: int) -> Tensor:
        """Return the mean cost of picking the memories ``index (B,)`` by the codes ``(B, dim)``.

        Args:
            code: Unit vectors of this process's photos.
            index: Their rows of the memory.
            term: 0 or 1; each draws negatives of its own.
        """
        bank = self.memory.rows
        if bank is None:
            raise BadInput("PIRL needs its memory before the first loss; call setup(source).")
        same = torch.Generator(code.device).manual_seed(2 * self.clock.step + term)  # in all processes
        shape = (world(), len(code), self.negatives)
        drawn = torch.randint(len(bank) - 1, shape, generator=same, device=code.device)[rank()]
        drawn += drawn >= index[:, None]  # any photo but the own one
        with torch.autocast(code.device.type, enabled=False):
            # All scores, then those drawn: less memory than the drawn rows, also of a million photos.
            scores = (code @ bank.T).gather(1, torch.cat([index[:, None], drawn], 1)) / self.temperature
            return nce(scores)

    @torch.no_grad()
    def step_end(self, clock: Clock) -> None:
        """Move the memories of the photos just seen towards their codes; all processes alike."""
        if self.seen_codes:
            index, f = (gather(torch.cat(parts)) for parts in zip(*self.seen_codes, strict=True))
            self.seen_codes.clear()
            self.memory.write(index, f)


def nce(scores: Tensor) -> Tensor:
    """Return the noise-contrastive cost of the first score of each row against the others.

    With h(s) = eˢ / (eˢ + Σ), where Σ sums e^s' over the negatives s', a row costs
    -log h(own) - Σⱼ log(1 - h(negative j)).

    Args:
        scores: ``(B, 1 + m)`` cosines over the temperature.

    Returns:
        Scalar, in nats, averaged over rows. Equal scores give log(1 + m) + m log(1 + 1/m).

    Source: Misra, van der Maaten, arXiv:1912.01991, Eqs. 3 and 4.
    """
    own, others = scores[:, :1], scores[:, 1:]
    sum_ = others.logsumexp(1, keepdim=True)
    return (softplus(sum_ - own) + softplus(others - sum_).sum(1, keepdim=True)).mean()
