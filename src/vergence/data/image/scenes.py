"""The world ``scenes`` as sources of pictures: single ones, the frames of clips, pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch

from vergence.core.errors import BadInput, unknown
from vergence.data.image.generated import AT_ONCE, Made, Views, whole_numbers
from vergence.data.image.reader import ImageReader, numbered
from vergence.data.image.source import ImageSource
from vergence.data.targets import LazyTarget, Target, Values
from vergence.data.worlds.scenes import motion, pairs, truths
from vergence.data.worlds.scenes.pictures import pictures
from vergence.data.worlds.scenes.scene import Options, Scenes, generate
from vergence.data.worlds.scenes.shapes import NAMES

COUNT, SIZE, TOP = 10_000, 64, (30, 80)  # pictures and pixels unless said; things seen from the top
KINDS = ("", "video", "pairs")

Make = Callable[[np.ndarray], Scenes]


def open_scenes(uri: str, *, limit: float = 0.5) -> ImageSource:
    """Open ``scenes``, ``scenes:video`` (frames, a clip's one after the other) or ``scenes:pairs``.

    After ``?`` stand ``count`` (pictures, clips or pairs), ``size`` (pixels), ``seed``, any of ``Options``
    (``objects=2-8``), of a video any of ``Motion``, of pairs ``by`` (homography, style or edit).

    Raises:
        BadInput: If an option is unknown or out of range.
    """
    name, _, query = uri.partition("?")
    kind = name.partition(":")[2]
    if kind not in KINDS:
        raise unknown("kind of scenes", kind, KINDS[1:])
    given = dict(parse_qsl(query, keep_blank_values=True))
    count, size, seed = whole_numbers(given, "scenes", count=COUNT, size=SIZE, seed=0)
    if count < 1 or not 8 <= size <= 4096:
        raise BadInput(f"scenes are 1 or more, of 8 to 4096 pixels; got count={count}, size={size}.")
    moving = _taken(motion.Motion(), given) if kind == "video" else None
    by = given.pop("by", "homography") if kind == "pairs" else ""
    options = _taken(Options(), given)
    if options.view == "top" and "objects" not in query:
        options = replace(options, objects=TOP)
    if given:
        every = [f.name for f in (*fields(Options), *(fields(motion.Motion) if moving else ()))]
        raise unknown("option of scenes", next(iter(given)), ["count", "size", "seed", *every])
    if moving is not None:
        return _frames(uri, count, size, seed, options, moving, limit)
    if by:
        pairs.check_kind(by)
        return _pairs(uri, count, size, seed, options, by, limit)

    def make(rows: np.ndarray) -> Scenes:
        return generate(seed, rows, options)

    reader = _Reader(make, _labels(count, seed, options), size, options.aberration, "scenes")
    return ImageSource(reader, uri, limit=limit, targets=_stills(_views(make, size), options, seed))


def _frames(
    uri: str, count: int, size: int, seed: int, options: Options, moving: motion.Motion, limit: float
) -> ImageSource:
    t = moving.frames

    def make(rows: np.ndarray) -> Scenes:
        several, of = np.unique(rows // t, return_inverse=True)
        return motion.clips(seed, several, options, moving).scenes.pick(of * t + rows % t)

    views = _views(make, size)

    def flow(rows: np.ndarray) -> Target:
        last = rows % t == t - 1
        target = motion.flow(views.of(rows), truths.View(make(rows + ~last), size))
        uv = target.uv.float()
        uv[torch.from_numpy(last)] = torch.nan
        return replace(target, uv=uv)

    def of_clip(name: str) -> Callable[[np.ndarray], Target]:
        def values(rows: np.ndarray) -> Target:
            several, of = np.unique(rows // t, return_inverse=True)
            clips = motion.clips(seed, several, options, moving)
            if name == "audio":
                return Values(motion.sound(clips).values[of, rows % t])
            value, names = (clips.action, motion.ACTIONS) if name == "action" else (clips.first, None)
            return Values(torch.from_numpy(value[of]), names)

        return values

    def tracks(rows: np.ndarray) -> Target:
        several, of = np.unique(rows // t, return_inverse=True)
        return motion.tracks(motion.clips(seed, several, options, moving), size).pick(torch.from_numpy(of))

    targets = _stills(views, options, seed)
    targets["flow"] = Made(flow)
    targets["tracks"] = Made(tracks)
    targets["group"] = Made(lambda rows: Values(torch.from_numpy(rows // t)))
    for name in ("action", "audio", *(["first"] if moving.flashes else [])):
        targets[name] = Made(of_clip(name))
    labels = np.repeat(_labels(count, seed, options), t)
    reader = _Reader(make, labels, size, options.aberration, "scenes:video")
    return ImageSource(reader, uri, limit=limit, targets=targets)


def _pairs(
    uri: str, count: int, size: int, seed: int, options: Options, by: str, limit: float
) -> ImageSource:
    def make(rows: np.ndarray) -> Scenes:
        first, second = pairs.pairs(seed, rows // 2, options, by)
        odd = (rows % 2).astype(bool)
        changed = {}
        for f in fields(first):
            one, other = getattr(first, f.name), getattr(second, f.name)
            changed[f.name] = np.where(odd.reshape(-1, *[1] * (one.ndim - 1)), other, one)
        return first.replace(**changed)

    views = _views(make, size)

    def homography(rows: np.ndarray) -> Target:
        return Values(torch.from_numpy(views.of(rows).to_scene.astype(np.float32)))

    targets = _stills(views, options, seed)
    targets["homography"] = Made(homography)
    targets["group"] = Made(lambda rows: Values(torch.from_numpy(rows // 2)))
    labels = np.repeat(_labels(count, seed, options), 2)
    reader = _Reader(make, labels, size, options.aberration, "scenes:pairs")
    return ImageSource(reader, uri, limit=limit, targets=targets)


class _Reader(ImageReader):
    """Pictures that are drawn when they are asked for."""

    def __init__(self, make: Make, labels: np.ndarray, size: int, aberration: float, stem: str) -> None:
        self.make, self.size, self.aberration = make, size, aberration
        self.names, self.classes, self.labels = numbered(stem, len(labels)), list(NAMES), labels

    def read(self, i: int) -> np.ndarray:
        return pictures(self.make(np.array([i])), self.size, aberration=self.aberration)[0]


def _views(make: Make, size: int) -> Views[truths.View]:
    return Views(lambda rows: truths.View(make(rows), size))


def _labels(count: int, seed: int, options: Options) -> np.ndarray:
    """Return the labels ``(count,)`` of scenes, which motion and another view leave as they are."""
    pieces = np.array_split(np.arange(count), max(1, count // AT_ONCE))
    return np.concatenate([generate(seed, piece, options).label for piece in pieces])


def _stills(views: Views[truths.View], options: Options, seed: int) -> dict[str, Target | LazyTarget]:
    """Return every truth of still pictures, as annotators would give it where the options say so."""

    def truth(name: str) -> Made:
        def made(rows: np.ndarray) -> Target:
            view = views.of(rows)
            target = truths.TRUTHS[name](view)
            return (
                truths.displaced(target, view, seed, rows, options.displaced) if options.displaced else target
            )

        return Made(made)

    targets: dict[str, Target | LazyTarget] = {
        name: truth(name) for name in truths.TRUTHS if name != "labels"
    }
    targets["tags"] = Made(lambda rows: truths.tags(views.of(rows), seed, rows, options.unknown))
    return targets


def _taken(defaults: Any, given: dict[str, str]) -> Any:
    """Return options with those of the text set that they know, and take them out of it."""
    chosen: dict[str, Any] = {}
    for f in fields(defaults):
        if f.name not in given:
            continue
        text, default = given.pop(f.name), getattr(defaults, f.name)
        try:
            if isinstance(default, bool):
                chosen[f.name] = {"": True, "true": True, "false": False}[text.lower()]
            elif isinstance(default, tuple):
                low, _, high = text.partition("-")
                chosen[f.name] = (int(low), int(high or low))
            else:
                chosen[f.name] = type(default)(text)
        except (ValueError, KeyError):
            example = "2-8" if isinstance(default, tuple) else default
            raise BadInput(f"{f.name} of scenes is given like {f.name}={example}; got {text!r}.") from None
    return replace(defaults, **chosen)
