"""SimCLR's two views of small photos that are decoded already: crop, flip, colour jitter, greyscale.

Ours takes the batch as the loader hands it over and gives float views. lightly's ``SimCLRTransform``
works on one PIL image at a time in a ``DataLoader`` with a worker a core. torchvision's v2 works on
the whole batch at once, as its documentation advises; it then crops all images of the batch alike and
draws one strength of colour for all, so that it does less than the task asks. kornia's modules work on
the batch and draw for each image, as ours do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from vergence.benchmarks.speed.harness import Contest, Contestant, LoaderPasses, Round
from vergence.data.image.batch import ImageBatch
from vergence.data.loading import cores
from vergence.methods.image.views import pair

BATCH = 256


def contests(quick: bool) -> Iterator[Contest]:
    for size, batches in ((32, 1 if quick else 40), (224, 1 if quick else 2)):
        batch = (16 if quick else BATCH) if size == 32 else (4 if quick else 64)
        photos = _photos(batch * batches, size if size == 32 else 256)
        lightly = LoaderPasses(partial(_lightly, photos, size, batch))
        yield Contest(
            name=f"simclr-views-{size}",
            what=f"two SimCLR views of {size} pixels of {len(photos):,} photos of {photos.shape[1]} pixels "
            f"in memory, in batches of {batch}",
            amount=2 * len(photos),
            unit="views",
            contestants=(
                Contestant("vergence", partial(_ours, photos, size, batch)),
                Contestant(
                    f"lightly, {cores()} workers",
                    lightly.prepare,
                    needs=("lightly",),
                    bar=20.0 if size == 32 else None,
                    close=lightly.close,
                ),
                Contestant("torchvision v2, one draw a batch", partial(_torchvision, photos, size, batch)),
                Contestant("kornia", partial(_kornia, photos, size, batch), needs=("kornia",)),
            ),
            least=1e5 if size == 32 else None,
        )


def _photos(count: int, side: int) -> np.ndarray:
    """Return smooth random pictures, ``(count, side, side, 3)`` uint8."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp_(0, 1)
    return (fine * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _ours(photos: np.ndarray, size: int, batch: int) -> Round:
    views = pair(size)
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2)

    def round_() -> None:
        for start in range(0, len(pixels), batch):
            some = pixels[start : start + batch]
            index = torch.arange(start, start + len(some))
            views(ImageBatch(some, index, torch.full_like(index, -1)))

    return round_


def _lightly(photos: np.ndarray, size: int, batch: int) -> torch.utils.data.DataLoader[Any]:
    from lightly.transforms import SimCLRTransform

    blur = 0.5 if size > 64 else 0.0
    transform = SimCLRTransform(input_size=size, min_scale=0.2, cj_strength=0.5, gaussian_blur=blur)
    return torch.utils.data.DataLoader(
        _Pictures(photos, transform), batch_size=batch, num_workers=cores(), persistent_workers=True
    )


class _Pictures(torch.utils.data.Dataset):
    """Photos in memory as PIL images, as torchvision's CIFAR10 hands them out."""

    def __init__(self, photos: np.ndarray, transform: Any) -> None:
        self.photos, self.transform = photos, transform

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, row: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.photos[row]))


def _torchvision(photos: np.ndarray, size: int, batch: int) -> Round:
    from torchvision.transforms import v2

    steps = [
        v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomGrayscale(0.2),
    ]
    if size > 64:
        steps.append(v2.RandomApply([v2.GaussianBlur(size // 20 * 2 + 1, (0.1, 2.0))], p=0.5))
    transform = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2)

    def round_() -> None:
        for start in range(0, len(pixels), batch):
            some = pixels[start : start + batch]
            transform(some), transform(some)

    return round_


def _kornia(photos: np.ndarray, size: int, batch: int) -> Round:
    from kornia import augmentation as k

    steps = [
        k.RandomResizedCrop((size, size), scale=(0.2, 1.0)),
        k.RandomHorizontalFlip(),
        k.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        k.RandomGrayscale(p=0.2),
    ]
    if size > 64:
        kernel = size // 20 * 2 + 1
        steps.append(k.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5))
    transform = torch.nn.Sequential(*steps)
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2)

    def round_() -> None:
        for start in range(0, len(pixels), batch):
            some = pixels[start : start + batch].float() / 255
            transform(some), transform(some)

    return round_
