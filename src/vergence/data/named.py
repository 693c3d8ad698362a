"""The embedded data: 1,797 scans of handwritten digits, 8 x 8, that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from vergence.data.image_source import ImageSource
from vergence.data.shelf import Pixels

# A mirrored digit is another sign, ink has no colour, and at 8 x 8 a small crop shows nothing.
VIEWS = {"scale": (0.5, 1.0), "flip": 0.0, "jitter_p": 0.0, "grey": 0.0}


def digits(*, limit: float) -> ImageSource:
    """Open scikit-learn's digits as RGB, its ink values 0 to 16 spread over 0 to 255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    shelf = Pixels(pixels, data.target.astype(np.int64), [str(c) for c in data.target_names], "digits")
    return ImageSource(shelf, "digits", limit=limit, view_options=VIEWS, pixels=pixels)
