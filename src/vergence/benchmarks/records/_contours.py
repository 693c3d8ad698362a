"""What runs of record on contours share: BSDS at half size, the two classics, and how maps are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
import torch

from vergence.benchmarks.environment import data_root
from vergence.benchmarks.tasks import Metric
from vergence.core.errors import BadInput
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import Boundaries
from vergence.evaluate.protocols.boundary import boundary, suppressed
from vergence.evaluate.score import Score
from vergence.nets.side_outputs import SideOutputs

LEVELS = 20  # thresholds
HALF = (160, 240)  # pixels of BSDS at half size, those on end laid down
CONTOURS = (Metric("AP of contours"), Metric("ODS of contours"))

Detector = Callable[[np.ndarray], np.ndarray]


def sobel(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Return the length ``(H, W)`` of the smoothed grey gradient of pixels ``(H, W, 3)`` in [0, 1]."""
    from skimage import color, filters

    return filters.sobel(filters.gaussian(color.rgb2gray(pixels), sigma))


def canny(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Return at how many levels of its threshold Canny's detector keeps a pixel, ``(H, W)``."""
    from skimage import color, feature

    grey, best = color.rgb2gray(pixels), np.zeros(pixels.shape[:2])
    for i, level in enumerate(3 * np.linspace(0, 1, LEVELS + 1)[1:] ** 2, 1):
        best[feature.canny(grey, sigma, 0.4 * level, level)] = i
    return best


def network(encoder: SideOutputs, which: int = -1) -> Detector:
    """Return what makes one of a network's maps of a photo, by default the last, the sum of its sides."""
    encoder.eval()

    def detect(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
            return encoder.logits(x)[0, which].sigmoid().numpy()

    return detect


def merged(encoder: SideOutputs) -> Detector:
    """Return what makes the mean of all of a network's maps of a photo."""
    encoder.eval()

    def detect(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
            return encoder.contours(x, averaged=True)[0].numpy()

    return detect


def judge(detect: Detector, test: Source, *, tolerance: float, thin: bool = True) -> tuple[Score, Score]:
    """Return AP and ODS of a detector on pictures with drawn boundaries.

    Args:
        detect: Pixels ``(H, W, 3)`` in [0, 1] -> ``(H, W)``, 0 or more; scaled by the largest of all maps.
        test: The pictures.
        tolerance: As a share of the diagonal.
        thin: Whether maps are suppressed to what is largest across an edge; Canny's are already.
    """
    maps = [detect(test.sample(i) / 255) for i in range(len(test))]
    if thin:
        maps = [suppressed(one) for one in maps]
    top = max(max(one.max() for one in maps), 1e-12)
    drawn = people(test)
    scores = boundary([one / top for one in maps], drawn, thresholds=LEVELS, tolerance=tolerance, repeats=100)
    return scores["AP"], scores["ODS"]


def people(source: Source) -> list[list[np.ndarray]]:
    """Return every picture's drawn maps, those of nobody left out."""
    drawn = source.target("boundaries")
    assert isinstance(drawn, Boundaries)
    maps = drawn.maps.as_subclass(torch.Tensor).numpy() > 0.5
    return [[one for one in maps[drawn.of.numpy() == i] if one.any()] for i in range(len(source))]


def bsds(judged: int) -> tuple[Source, Source]:
    """Return the 200 training photos of BSDS500 at half size, and some of the validation photos."""
    return _half("train", 200), _half("val", judged)


@cache
def _half(split: str, count: int) -> ImageSource:
    folder = data_root() / "bsds500"
    if not folder.exists():
        raise BadInput(
            f"This run of record needs bsds500/ with images and groundTruth in {data_root()}, where it is "
            "missing; set VERGENCE_DATA to the folder that holds it."
        )
    whole = open_source(folder)
    rows = [i for i, name in enumerate(whole.names) if name.startswith(f"{split}/")][:count]
    source = whole.subset(np.array(rows))
    pixels, maps, of = [], [], []
    for i in range(len(source)):
        pixels.append(_lying(source.sample(i)).astype(np.float32))
        drawn = source.target("boundaries", np.array([i]))
        assert isinstance(drawn, Boundaries)
        maps += [_lying(one) for one in drawn.maps.as_subclass(torch.Tensor).numpy()]
        of += [i] * len(drawn)
    small = np.stack(list(_pooled(pixels, np.mean))).round().astype(np.uint8)
    lines = torch.from_numpy(np.stack(list(_pooled(maps, np.max))))
    uri = f"memory:bsds500/{split}"
    reader = PixelReader(small, None, None, uri)
    targets = {"boundaries": Boundaries(torch.tensor(of), lines)}
    return ImageSource(reader, uri, pixels=small, targets=targets)


def _lying(picture: np.ndarray) -> np.ndarray:
    """Return a picture whose longer side lies across."""
    return picture if picture.shape[0] <= picture.shape[1] else np.rot90(picture).copy()


def _pooled(pictures: Sequence[np.ndarray], how: Callable[..., np.ndarray]) -> Iterable[np.ndarray]:
    """Yield pictures of half the size, of every 2 x 2 pixels one."""
    height, width = HALF
    for one in pictures:
        cells = one[: 2 * height, : 2 * width].reshape(height, 2, width, 2, *one.shape[2:])
        yield how(cells, axis=(1, 3))
