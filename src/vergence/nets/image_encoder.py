"""Base of image encoders: normalised pixels in, ``Features`` out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features, InputSpec, input_spec, unknown
from vergence.core.features import FACETS
from vergence.core.specs import name_of
from vergence.data.image.batch import ImageBatch
from vergence.views.pixels.augment import View, plain

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]
EXTRAS = ("attention", "cls", "keys")
INTERPOLATIONS = ("bilinear", "bicubic")  # both antialiased

Images = Tensor | View | ImageBatch


def image_size(encoder: nn.Module) -> int:
    """Return the side in pixels of the images that an encoder takes.

    Raises:
        BadInput: If it does not say so.
    """
    size = (input_spec(encoder) or {}).get("size")
    if size is None:
        name = type(encoder).__name__
        raise BadInput(f'{name} does not say which images it takes: give it input_spec = {{"size": 224}}.')
    return size


def check_facet(encoder: nn.Module, facet: str, *, attends: bool, stride: int | None = None) -> None:
    """Raise ``BadInput`` for a facet that there is not, or for what only a transformer has."""
    if facet not in FACETS:
        raise unknown("facet", facet, FACETS)
    name = name_of(encoder)
    if stride is not None and not attends:
        raise BadInput(
            f"{name} cuts no patches, so that its stride stays as it is; choose an earlier layer, or build "
            "timm's with output_stride=8."
        )
    if facet != "token" and not attends:
        raise BadInput(
            f"{name} has no facet '{facet}', which is a transformer's; ask for 'token', or choose a vision "
            "transformer such as vit-small32."
        )


def sampling(
    modules: Iterable[nn.Module],
    *,
    without: str = "downsample",
    size: tuple[int, int] = (0, 0),
    same: tuple[type[nn.Module], ...] = (),
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the stride of a map in pixels and where its first cell has its centre, down and across.

    Layers are taken in the order in which they were made. A layer of odd kernel, padded by half of it, leaves
    the first centre where it was; one of even kernel without padding moves it by half a cell.

    Args:
        modules: That the picture goes through, one after the other; what lies inside them counts.
        without: Names of shortcuts, which lie beside the way.
        size: Of the picture in pixels, height and width; asked for by layers of ``same`` alone.
        same: Kinds of layers that pad as TensorFlow's "same", which depends on the size: the odd pixel
            comes last.
    """
    way = [m for outer in modules for name, m in outer.named_modules() if without not in name]
    down, across = (_along(way, axis, size[axis], same) for axis in (0, 1))
    return (down[0], across[0]), (down[1], across[1])


def _along(
    modules: Sequence[nn.Module], axis: int, length: int, same: tuple[type[nn.Module], ...]
) -> tuple[float, float]:
    """Return stride and first centre along one axis."""
    stride, offset = 1.0, 0.5
    sized = any(isinstance(module, same) for module in modules)  # else a tracer keeps the size open
    for module in modules:
        if not hasattr(module, "kernel_size"):
            continue
        kernel, step, wide = (_on(getattr(module, n, 1), axis) for n in ("kernel_size", "stride", "dilation"))
        if step == 1:
            continue
        reach = wide * (kernel - 1)
        if isinstance(module, same):
            left = max((-(-length // step) - 1) * step + reach + 1 - length, 0) // 2
            length = -(-length // step)
        else:
            left = _on(module.padding, axis)
            length = (length + 2 * left - reach - 1) // step + 1 if sized else length
        offset += stride * (reach / 2 - left)
        stride *= step
    return stride, offset


def _on(value: Any, axis: int) -> int:
    return value if isinstance(value, int) else value[axis]


_NEEDED = {
    "crop": "a share in (0, 1]",
    "interpolation": " or ".join(INTERPOLATIONS),
    "mean": "three numbers, of red, green and blue in [0, 1]",
    "std": "three numbers above 0",
}


def _fits(name: str, value: Any) -> bool:
    if name == "interpolation":
        return value in INTERPOLATIONS
    numbers = [value] if name == "crop" else value
    if not isinstance(numbers, list | tuple) or len(numbers) != (1 if name == "crop" else 3):
        return False
    if not all(
        isinstance(n, int | float) and math.isfinite(n) and (n > 0 or name == "mean") for n in numbers
    ):
        return False
    return name != "crop" or numbers[0] <= 1


class ImageEncoder(nn.Module):
    """Pixels ``(B, 3, H, W)`` in [0, 1] -> ``Features``; normalises them itself.

    Attributes:
        out_dim: Width of ``Features.pooled``.
        size: Side in pixels that batches are brought to; other sizes may come as tensors or views.
        input_spec: That side, as a loader is told: ``{"size": size}``.
        reading_spec: The same for a batch whose central square is cut out: the shorter side before the cut.
        settings: How photos are made pixels: ``crop`` (side of the central square as a share of the shorter
            side), ``interpolation``, ``mean`` and ``std``; ``preprocess_as`` changes them.
        depth: How many layers ``layers`` knows.
        hides_patches: Whether ``forward`` takes ``keep``, ``mask`` and ``mask_token``, as a ``ViT`` does.
        spec: Arguments with which ``build`` makes this network again (without its weights).
    """

    out_dim: int
    depth: int
    hides_patches: bool = False
    spec: dict[str, Any]
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        size: int,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        extras: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.size = size
        self.spec = {}
        self.extras = tuple(extras)
        self.settings: dict[str, Any] = {"crop": 1.0, "interpolation": "bilinear"}
        for name, values in (("mean", mean), ("std", std)):
            self.settings[name] = list(values)
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    @property
    def input_spec(self) -> InputSpec:
        return {"size": self.size}

    @property
    def reading_spec(self) -> InputSpec:
        return {"size": math.floor(self.size / self.settings["crop"])}

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What happens to a photo: ``resize`` of its shorter side and central ``crop``, in pixels, ..."""
        return {"resize": self.reading_spec["size"], **self.settings, "crop": self.size}

    def preprocess_as(self, settings: Mapping[str, Any]) -> None:
        """Make photos pixels in another way; what is not named stays.

        Args:
            settings: Of ``settings``.

        Raises:
            BadInput: If there is no such setting, or its value is out of range.
        """
        if not isinstance(settings, Mapping):
            raise BadInput(
                f"preprocessing needs names with values, such as crop: 0.875; got {settings!r:.60}."
            )
        for name, value in settings.items():
            if name not in self.settings:
                raise unknown("preprocessing", str(name), self.settings)
            if not _fits(name, value):
                raise BadInput(f"preprocessing.{name} is {value!r:.60}; it needs {_NEEDED[name]}.")
            if name in ("mean", "std"):
                getattr(self, name).copy_(torch.tensor(value).view(1, 3, 1, 1))
            self.settings[name] = list(value) if isinstance(value, list | tuple) else value

    def pixels(self, images: Images) -> Tensor:
        """Return what ``images`` shows as normalised float pixels ``(B, 3, H, W)``, channels last."""
        if isinstance(images, ImageBatch):
            cubic = self.settings["interpolation"] == "bicubic"
            images = plain(images, self.size, share=self.size / self.reading_spec["size"], cubic=cubic)
        elif isinstance(images, View):
            images = images.pixels
        if images.ndim != 4 or images.shape[1] != 3:
            raise BadInput(
                f"An image encoder needs RGB pixels (B, 3, H, W); got {tuple(images.shape)}. "
                "Stack single images; repeat a grey channel three times."
            )
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        """Return pooled vectors, the map and the tokens.

        Args:
            images: Pixels in [0, 1], a ``View``, or a batch as it was read.
            need: Extras by name: ``attention (B, heads, T, T)`` and ``keys (B, heads, T, d)`` of the
                last layer, ``cls (B, D)``; T counts class and register tokens too.

        Raises:
            BadInput: If this network has no such extra.
        """
        raise NotImplementedError

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        """Return what chosen layers give, all by default; negative numbers count from the last.

        A convolutional stage gives ``(B, D, h, w)``, a transformer block ``(B, N, D)`` without class
        and register tokens and before the final norm.
        """
        raise NotImplementedError

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        """Return what one layer gives, with its place in the picture; ``vergence.tokens`` says more.

        Args:
            images: As ``forward`` takes them.
            layer: From 0; negative numbers count from the last.
            facet: "token", or of a transformer's attention "query", "key" or "value".
            stride: Pixels from patch to patch of a transformer; None lays them side by side.

        Raises:
            BadInput: If this network has no such facet, or no such stride.
            ValueError: If it has no such layer.
        """
        raise NotImplementedError

    def tokens(self, images: Images) -> Tensor:
        """Return one vector a patch or cell, ``(B, N, D)``."""
        tokens = self.forward(images).tokens
        if tokens is None:
            raise BadInput(
                f"{self.spec.get('name', type(self).__name__)} has no tokens; choose another encoder."
            )
        return tokens

    def check(self, need: Sequence[str]) -> None:
        """Raise ``BadInput`` if ``need`` names an extra that this network does not have."""
        for name in need:
            if name not in EXTRAS:
                raise unknown("encoder output", name, EXTRAS)
            if name not in self.extras:
                raise BadInput(
                    f"{self.spec.get('name', type(self).__name__)} has no '{name}'; "
                    "choose a vision transformer such as vit-small32."
                )

    def chosen(self, which: Sequence[int] | None) -> list[int]:
        """Return layer numbers counted from 0."""
        if which is None:
            return list(range(self.depth))
        for i in which:
            if not -self.depth <= i < self.depth:
                raise ValueError(f"layers needs numbers from {-self.depth} to {self.depth - 1}; got {i}.")
        return [i % self.depth for i in which]
