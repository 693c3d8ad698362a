"""Explanation: which places of two images make an encoder find them alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vergence.core import BadInput, input_spec
from vergence.data.image.memory import one_image
from vergence.engine.encoders import load
from vergence.engine.run import Run
from vergence.use.simvis import Why, explain_pictures
from vergence.views.pixels.augment import plain


def explain(run: str | Path | Run | nn.Module, first: Any, second: Any) -> Why:
    """Say which places of two images make an encoder find them alike (``use.simvis``, arXiv:1901.00536).

    Args:
        run: A finished run on images, its folder, or an image encoder.
        first: An image: its path, a PIL image, or an array ``(H, W, 3)``.
        second: Likewise.

    Returns:
        The cosine of the two, and over the places of each a map of what they contribute, which adds up to it.

    Raises:
        BadInput: If the run did not learn from images, its encoder has no map of places, or an image cannot
            be read.

    >>> why = explain("runs/photos", "cat.jpg", "dog.jpg")  # doctest: +SKIP
    >>> why.score, why.first.shape  # doctest: +SKIP
    (tensor([0.8]), torch.Size([1, 8, 8]))
    """
    encoder = encoder_of_images(run)
    return explain_pictures(encoder, *(picture(encoder, image) for image in (first, second)))


def encoder_of_images(run: str | Path | Run | nn.Module) -> nn.Module:
    """Return the encoder of a run; raises ``BadInput`` if it does not say which images it takes."""
    if isinstance(run, nn.Module):
        encoder, name = run, type(run).__name__
    else:
        encoder = run.encoder if isinstance(run, Run) else load(run)
        name = str(run.path if isinstance(run, Run) else run)
    if (input_spec(encoder) or {}).get("size") is None:
        raise BadInput(f"{name} did not learn from images; explain compares two images.")
    return encoder


def picture(encoder: nn.Module, image: Any) -> Tensor:
    """Return an image's central square as an encoder takes it, ``(1, 3, size, size)`` in [0, 1].

    Args:
        encoder: Of images.
        image: Its path, a PIL image, or an array ``(H, W, 3)``.

    Raises:
        BadInput: If it cannot be read.
    """
    size = (input_spec(encoder) or {})["size"]
    source = one_image(image)
    batch = next(source.loader(1, spec={"size": size}), None)
    source.skipped.check(1, str(image) if isinstance(image, str | Path) else source.uri)
    assert batch is not None
    return plain(batch, size)
