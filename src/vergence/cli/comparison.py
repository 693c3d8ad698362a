"""``vergence explain`` and ``compare``: look into what an encoder sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jsonargparse.typing import PositiveInt

from vergence.cli.options import Options
from vergence.cli.output import show
from vergence.core.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from vergence.data import Source
    from vergence.use.comparison import LearnedComparison
    from vergence.use.protosim import ProtoEncoder

_SIDE = 320  # of a picture on the page, in pixels
_SMALL = 112  # of one among many
_SHOWN = 10  # prototypes that a person is shown of each kind


def explain(argv: list[str]) -> None:
    parser = Options(
        "explain",
        "Say which places of two images make the encoder of RUN find them alike. Their contributions, "
        "which may be negative, add up to the cosine.",
        "vergence explain runs/photos cat.jpg dog.jpg --out why.html",
    )
    parser.add_argument("run", nargs="?", type=str, help="folder of a finished run on images")
    parser.add_argument("first", nargs="?", type=str, help="image file")
    parser.add_argument("second", nargs="?", type=str, help="image file")
    parser.add_argument("--out", type=str, help="page to write, with both heat maps over the images")
    args = parser.read(argv)
    from vergence.use.explanation import encoder_of_images, picture
    from vergence.use.explanation import explain as api
    from vergence.use.simvis import overlay_heat

    encoder = encoder_of_images(args.run)
    why = api(encoder, args.first, args.second)
    score, maps = float(why.score[0]), (why.first[0], why.second[0])
    if args.out:
        from vergence.cli.html_page import enlarged, write_page

        most = max(float(part.abs().max()) for part in maps)
        larger = [part[0].cpu().numpy() for part in why.upsampled(_SIDE, _SIDE)]
        pictures = [picture(encoder, args.first), picture(encoder, args.second)]
        shown = []
        for path, pixels, heat in zip((args.first, args.second), pictures, larger, strict=True):
            plain = enlarged(_pixels(pixels), _SIDE)
            shown.append(
                (path, [(plain, path), (overlay_heat(plain, heat, most), "what speaks for it, and against")])
            )
        lead = (
            f"The encoder gives them a cosine of {score:.3f}. Red places speak for their likeness, blue ones "
            "against it, both pictures in one scale; all places of a picture add up to the cosine."
        )
        write_page(args.out, "Why these two are alike", lead, shown)
    result = {
        "cosine": round(score, 4),
        "first": {"image": args.first, "map": maps[0].cpu().numpy().round(5)},
        "second": {"image": args.second, "map": maps[1].cpu().numpy().round(5)},
    }
    lines = [f"cosine {score:.3f}"]
    for path, part in zip((args.first, args.second), maps, strict=True):
        place = int(part.argmax())
        row, column = divmod(place, part.shape[1])
        lines.append(
            f"{path}: most of it comes from row {row + 1} of {part.shape[0]}, column {column + 1} of "
            f"{part.shape[1]} ({float(part.max()):.3f})"
        )
    show(args, result, "\n".join(lines) + (f"\nBoth maps are in {args.out}." if args.out else ""))


def compare(argv: list[str]) -> None:
    parser = Options(
        "compare",
        "Say what two collections of images share and what is in one of them only. What the encoder of RUN "
        "sees at each place is divided among prototypes, which are learned here; each is counted in both.",
        "vergence compare photos/2023 photos/2024 --run runs/photos --out differences.html",
    )
    parser.add_argument("first", nargs="?", type=str, help="images; see vergence learn --help")
    parser.add_argument("second", nargs="?", type=str, help="images")
    parser.add_argument("--run", type=str, help="folder of a finished run, whose encoder looks")
    parser.add_argument("--prototypes", type=PositiveInt, default=256, help="how many things are told apart")
    parser.add_argument("--epochs", type=PositiveInt, default=20, help="passes over both collections")
    parser.add_argument(
        "--above", type=float, default=0.9, help="share of a prototype's use that makes it one side's own"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the learning")
    parser.add_argument("--out", type=str, help="page to write, with examples of each prototype")
    args = parser.read(argv)
    if not args.run:
        raise BadInput("compare needs --run RUN: a finished run on images, whose encoder looks at both.")
    if not 0.5 < args.above <= 1:
        raise BadInput(f"--above needs a share above 0.5, at most 1; got {args.above}.")
    from vergence.use.comparison import compare as api

    names = (args.first, args.second)
    comparison = api(
        args.run, *names, prototypes=args.prototypes, epochs=args.epochs, seed=args.seed, quiet=args.json
    )
    sources = comparison.sources
    shares = np.nan_to_num(comparison.shares)
    kinds = {
        f"only in {names[0]}": comparison.of(0, above=args.above),
        f"only in {names[1]}": comparison.of(1, above=args.above),
        "in both": comparison.shared(above=args.above),
    }
    if args.out:
        _write_comparison(args.out, comparison, kinds)
    listed = {
        kind: [
            {
                "prototype": int(p),
                "tokens": comparison.counts[:, p],
                "share": round(float(shares[0, p]), 4),
                "examples": [
                    [source.names[row] for row in comparison.examples(which, p, 3)]
                    for which, source in enumerate(sources)
                ],
            }
            for p in rows
        ]
        for kind, rows in kinds.items()
    }
    tokens = comparison.counts.sum(1)
    lines = [
        f"{kind}: {len(rows)} prototypes, {comparison.counts[0, rows].sum() / tokens[0]:.0%} of what the "
        f"first shows and {comparison.counts[1, rows].sum() / tokens[1]:.0%} of the second"
        for kind, rows in kinds.items()
    ]
    lines += [f"Examples of them are in {args.out}."] if args.out else []
    show(args, {"collections": names, "tokens": tokens, **listed}, "\n".join(lines))


def _write_comparison(out: str, comparison: LearnedComparison, kinds: dict[str, np.ndarray]) -> None:
    """Write a page with the images that show most of each prototype, lit where they show it."""
    from vergence.cli.html_page import write_page

    rows, sources = [], comparison.sources
    for kind, prototypes in kinds.items():
        for p in prototypes[:_SHOWN].tolist():
            sides = [
                which
                for which in range(len(sources))
                if kind in ("in both", f"only in {comparison.names[which]}")
            ]
            figures = [
                (_lit(comparison.encoder, source, int(row), p), source.names[row])
                for which, source in enumerate(sources)
                if which in sides
                for row in comparison.examples(which, p, 8 // len(sides))
            ]
            counts = ", ".join(
                f"{n:,} places of {name}"
                for n, name in zip(comparison.counts[:, p], comparison.names, strict=True)
            )
            rows.append((f"{kind}: prototype {p}, seen at {counts}", figures))
    lead = (
        f"Prototypes of {comparison.names[0]} and {comparison.names[1]}, the most used first: "
        f"at most {_SHOWN} of each kind. Images are lit where they show the prototype."
    )
    write_page(out, "What two collections show", lead, rows)


def _lit(encoder: ProtoEncoder, source: Source, row: int, prototype: int) -> np.ndarray:
    """Return an image, dark where its tokens are other prototypes."""
    import torch
    from PIL import Image

    from vergence.cli.html_page import enlarged
    from vergence.nets.image_encoder import image_size
    from vergence.views.pixels.augment import plain

    size = image_size(encoder)
    picture = plain(next(source.subset([row]).loader(1, spec={"size": size})), size)
    with torch.no_grad():
        place = (encoder.assign(picture)[0, 1:] == prototype).numpy()
    side = round(len(place) ** 0.5)
    pixels = enlarged(_pixels(picture), _SMALL)
    if side * side != len(place):
        return pixels
    grid = Image.fromarray((place.reshape(side, side) * 255).astype(np.uint8))
    light = np.asarray(grid.resize((_SMALL, _SMALL), Image.Resampling.NEAREST))[..., None] / 255
    return (pixels * (0.35 + 0.65 * light)).round().astype(np.uint8)


def _pixels(picture: Tensor) -> np.ndarray:
    """Return a picture ``(1, 3, H, W)`` in [0, 1] as ``(H, W, 3)`` uint8."""
    return (picture[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
