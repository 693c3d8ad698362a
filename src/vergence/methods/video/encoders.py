"""Video encoders: R3D-18, R(2+1)D-18, a small C3D, tubelet transformers, any image encoder on frames."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from vergence.core import BadInput, unknown
from vergence.core.modality import find_modality
from vergence.core.specs import class_at, is_place
from vergence.data.source import Source
from vergence.nets.video_encoder import FrameEncoder, VideoEncoder

SCHEMES = ("timm",)  # of names that are other libraries'
FRAMES = 8  # of small encoders
ON_FRAMES = "frames"  # the name of an image encoder on frames


def _own() -> dict[str, Callable[..., VideoEncoder]]:
    from vergence.nets.tubelet_vit import tubelet_base, tubelet_micro, tubelet_small
    from vergence.nets.video_convnets import c3d_small, r2plus1d_18, r3d_18

    return {
        "c3d-small": c3d_small,
        "r2plus1d-18": r2plus1d_18,
        "r3d-18": r3d_18,
        "tubelet-base": tubelet_base,
        "tubelet-micro": tubelet_micro,
        "tubelet-small": tubelet_small,
    }


def names() -> list[str]:
    """Return the names of the library's own; those of image encoders are understood too."""
    return [*sorted(_own()), ON_FRAMES]


def choose(size: int) -> str:
    """Return the encoder that suits frames of ``size`` pixels when nobody says otherwise."""
    return "c3d-small" if size <= 64 else "r3d-18"


def build(
    name: str | None = None,
    *,
    size: int | None = None,
    frames: int | None = None,
    read: int | None = None,
    encoder: Mapping[str, Any] | nn.Module | None = None,
    **options: Any,
) -> VideoEncoder:
    """Make an encoder.

    Args:
        name: One of ``names()``; None takes ``choose(size)``. That of an image encoder, such as "resnet-tiny"
            or "timm:resnet18", puts it on every frame: the vector is the mean over frames. "frames" does
            with ``encoder``. "vergence.module:Class" is a class.
        size: Side of the frames in pixels; None takes 112, of an image encoder its own.
        frames: Of a clip; None takes 16 for the networks of papers, else 8.
        read: Frames that a loader delivers to learn from, among which views choose; None takes twice as many.
        encoder: The image encoder of "frames", or its spec.
        **options: Of the network itself, such as ``width`` of "c3d-small" and ``patch`` of a transformer.

    Raises:
        BadInput: If the name, the size or an option does not exist.

    >>> build("c3d-small", size=16, frames=8, width=4).out_dim
    32
    """
    if is_place(name):
        cls = class_at(name)
        takes = inspect.signature(cls).parameters
        sized = {"size": size, "frames": frames, "read": read}
        given = {word: value for word, value in sized.items() if value is not None and word in takes}
        try:
            return cast(VideoEncoder, cls(**given, **options))
        except TypeError as error:
            raise BadInput(f"{name} cannot be made: {error}.") from error
    own = _own()
    name = name or choose(size or 112)
    if name not in own:
        return _on_frames(name, size, frames, read, encoder, options)
    if encoder is not None:
        raise BadInput(f"{name} has no encoder of frames; 'frames' has one.")
    size = size or 112
    frames = frames or (16 if name in ("r3d-18", "r2plus1d-18", "tubelet-base") else FRAMES)
    make = own[name]
    known = list(inspect.signature(make).parameters)
    for option in options:
        if option not in known:
            raise unknown(
                f"option of {name}", option, [k for k in known if k not in ("size", "frames", "read")]
            )
    made = make(size=size, frames=frames, read=read, **options)
    made.spec = {"name": name, "size": size, "frames": frames, "read": made.read, **options}
    return made


def _on_frames(
    name: str,
    size: int | None,
    frames: int | None,
    read: int | None,
    encoder: Mapping[str, Any] | nn.Module | None,
    options: dict[str, Any],
) -> FrameEncoder:
    """Put an image encoder on every frame."""
    images = find_modality("image").load("encoders")
    if name == ON_FRAMES and encoder is None:
        raise BadInput("'frames' needs the encoder of images that it puts on every frame.")
    if name != ON_FRAMES:
        base = name.removeprefix("timm:").partition(".")[0]
        if not name.startswith("timm:") and name not in images.names() and base not in images.names():
            raise unknown("encoder of videos", name, [*names(), *images.names()])
        encoder = {"name": name, **options}
        options = {}
    if options:
        raise unknown("option of frames", next(iter(options)), ["encoder", "frames", "read"])
    if isinstance(encoder, Mapping):
        sized = {} if size is None else {"size": size}
        encoder = images.build(**{**sized, **encoder})
    return on_frames(cast(nn.Module, encoder), frames=frames, read=read)


def on_frames(encoder: nn.Module, *, frames: int | None = None, read: int | None = None) -> FrameEncoder:
    """Put an image encoder, with its weights, on every frame; the vector is the mean over frames."""
    made = FrameEncoder(cast(Any, encoder), frames=frames or FRAMES, read=read)
    made.spec = {
        "name": ON_FRAMES, "frames": made.frames, "read": made.read, "encoder": getattr(encoder, "spec", {})
    }  # fmt: skip
    return made


WRAPS = {"image": on_frames}  # encoders of another modality that read this one, in this way


def for_source(
    source: Source, name: str | None = None, *, size: int | None = None, **options: Any
) -> VideoEncoder:
    """Make the encoder that suits a source's videos.

    Args:
        source: Of videos; the median one tells how large they are.
        name: As in ``build``; None chooses.
        size: Side in pixels; None takes 16, 32 or 64 for videos of about that size, else 112.
        **options: As in ``build``.

    Raises:
        BadInput: As ``build`` does, and if no video of the source can be read.
    """
    return build(name, size=suited_size(source) if size is None else size, **options)


def suited_size(source: Source) -> int:
    """Return the side in pixels of views that suit a source: 16, 32 or 64 for videos of about that, or 112.

    Raises:
        BadInput: If no video of it can be read.
    """
    sides = source.shorter_sides()  # type: ignore[attr-defined]
    if not len(sides):
        raise BadInput(f"No video of {source.uri} can be read.")
    side = int(np.sort(sides)[len(sides) // 2])
    return next((size for size in (16, 32, 64) if side <= 1.25 * size), 112)


def choice(source: Source) -> str:
    """Say which size of views suits a source's videos, and why."""
    sides = source.shorter_sides()  # type: ignore[attr-defined]
    median = int(np.sort(sides)[len(sides) // 2]) if len(sides) else 0
    return (
        f"views of {suited_size(source)} pixels, as the shorter side of the median video has {median:,}; "
        "--size takes another"
    )


def small(source: Source) -> dict[str, Any]:
    """Return settings of ``learn`` with which a CPU trains in minutes; a GPU takes videos at their size."""
    large = suited_size(source) > 64 and not torch.cuda.is_available()
    return {"size": 64 if large else None, "encoder": "c3d-small", "encoder_options": {"width": 16}}
