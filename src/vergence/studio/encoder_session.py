"""Encoder session: the encoder that filled a store looks at new pictures and says why two are alike."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vergence.core.errors import BadInput, VergenceError
from vergence.core.specs import BRING_WEIGHTS
from vergence.store.table import Store

if TYPE_CHECKING:
    from vergence.data.image.source import ImageSource

LARGEST = 20 * 2**20  # bytes of a picture from outside
_PIXELS = 50_000_000  # of it
# first bytes of the files that are taken
_KINDS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}


def picture(raw: bytes) -> np.ndarray:
    """Return a picture from outside as ``(H, W, 3)`` uint8; nothing of it is written to the disk.

    Raises:
        BadInput: If it is too large or not a picture of a kind that is taken.
    """
    from vergence.data.image.decode import DecodeError, decode, shape

    if len(raw) > LARGEST:
        raise BadInput(f"The picture has more than {LARGEST // 2**20} MB: choose a smaller one.")
    webp = raw[:4] == b"RIFF" and raw[8:12] == b"WEBP"
    if not webp and not raw.startswith(tuple(_KINDS)):
        raise BadInput("That is not a picture: JPEG, PNG, WebP, GIF, BMP and TIFF can be looked for.")
    height, width = shape(raw)
    if not 0 < height * width <= _PIXELS:
        raise BadInput(f"The picture is broken, or has more than {_PIXELS // 10**6} million pixels.")
    try:
        return decode(raw)
    except DecodeError as error:
        raise BadInput(f"The picture cannot be read: {error}.") from None


class EncoderSession:
    """The encoder of a store's vectors, loaded when it is first needed.

    Args:
        store: Opened.
        column: Which vectors.
    """

    def __init__(self, store: Store, column: str) -> None:
        self.store, self.column = store, column
        self.model = str((store.about.get("models") or {}).get(column) or "")
        self._encoder: Any = None
        self._one = threading.Lock()

    @property
    def missing_so_far(self) -> str | None:
        """What is known to be missing by now, without loading what would tell."""
        return self.__dict__.get("missing", self.missing_file)

    @property
    def missing_file(self) -> str | None:
        """The line of ``missing`` where the store names no encoder, or its file is not there."""
        if not self.model:
            return "The store does not say which run made its vectors, so no picture can be looked at anew."
        if self.model.startswith(BRING_WEIGHTS) or (Path(self.model) / "encoder.safetensors").is_file():
            return None
        return (
            f"The run that made the vectors, {self.model}, is not there: put it back, or start the studio in "
            "the folder where vergence embed was run."
        )

    @cached_property
    def missing(self) -> str | None:
        """What keeps it from looking at pictures, in one line; None where nothing does."""
        if (line := self.missing_file) is not None or self.model.startswith(BRING_WEIGHTS):
            return line
        from vergence.core.modality import find_modality
        from vergence.engine.run import read_config

        try:
            modality = find_modality(read_config(Path(self.model)).modality)
        except VergenceError as error:
            return f"The encoder of the store cannot be used: {error}"
        if not modality.thumbnail:
            return f"{self.model} did not learn from pictures, so that none can be looked at."
        return None

    def vector(self, pixels: np.ndarray) -> np.ndarray:
        """Return the vector ``(D,)`` of a picture ``(H, W, 3)`` uint8.

        Raises:
            BadInput: If the encoder is missing or does not look at pictures.
        """
        from vergence.engine import embed

        encoder, _ = self._loaded()
        with self._one:
            return embed(encoder, _source(pixels)).vectors[0]

    def why(self, first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the cosine of two pictures and what each place of them contributes, ``(h, w)`` each.

        Raises:
            BadInput: If the encoder is missing, or has no map of places.
        """
        from vergence.use.simvis import explain_pictures
        from vergence.views.pixels.augment import plain

        encoder, size = self._loaded()
        with self._one:
            seen = [plain(next(_source(p).loader(1, spec={"size": size})), size) for p in (first, second)]
            training = encoder.training
            encoder.eval()
            try:
                explanation = explain_pictures(encoder, *seen)
            finally:
                encoder.train(training)
        return (
            float(explanation.score[0]),
            explanation.first[0].cpu().numpy(),
            explanation.second[0].cpu().numpy(),
        )

    def _loaded(self) -> tuple[Any, int]:
        if (line := self.missing) is not None:
            raise BadInput(line)
        from vergence.nets.image_encoder import image_size

        with self._one:
            if self._encoder is None:
                from vergence.engine.encoders import encoder_of

                try:
                    self._encoder = encoder_of(self.store, self.column)
                except VergenceError as error:
                    raise BadInput(f"The encoder of the store cannot be used: {error}") from None
        return self._encoder, image_size(self._encoder)


def _source(pixels: np.ndarray) -> ImageSource:
    from vergence.data.image.reader import PixelReader
    from vergence.data.image.source import ImageSource

    return ImageSource(PixelReader(pixels[None], None, None, "picture"), "picture", pixels=pixels[None])
