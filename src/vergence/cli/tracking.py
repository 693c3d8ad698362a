"""``vergence track``."""

from __future__ import annotations

import math
import time
from pathlib import Path

from jsonargparse.typing import PositiveInt

from vergence.cli.options import Options
from vergence.cli.output import show
from vergence.core.errors import BadInput, need


def track(argv: list[str]) -> None:
    parser = Options(
        "track",
        "Carry a mask, or points, of one frame through VIDEO with any image encoder; nothing is learned. "
        "Written are masks as PNGs or points as csv, and a video that shows them.",
        "vergence track dog.mp4 --mask first.png --out tracked",
    )
    parser.add_argument("video", nargs="?", type=str, help="video file, or folder of frames")
    parser.add_argument("--mask", type=str, help="grey or palette PNG: 0 the ground, 1 to 255 things")
    parser.add_argument("--points", nargs="+", type=str, default=[], help="in pixels: 320,180 40,60")
    parser.add_argument(
        "--encoder", type=str, default="vergence:conv-tiny", help="vergence:NAME, timm:NAME or a run's folder"
    )
    parser.add_argument("--at", type=float, default=0.0, help="seconds from which on VIDEO is followed")
    parser.add_argument(
        "--lines", type=PositiveInt, default=240, help="frames are looked at with so many lines at most"
    )
    parser.add_argument("--out", type=str, help="folder to write to [else tracked beside VIDEO]")
    args = parser.read(argv)
    if not args.video or not Path(args.video).expanduser().exists():
        raise BadInput(f"track needs a video that is there; got {args.video}.")
    if bool(args.mask) == bool(args.points):
        raise BadInput("track follows either --mask FILE.png or --points x,y ...; give one of the two.")
    points = [_point(words) for words in args.points] or None
    need("av", extra="video")
    from rich.console import Console
    from rich.progress import Progress

    from vergence.reports.track_files import TrackFiles
    from vergence.use.tracking import follow

    folder = Path(args.out or Path(args.video).expanduser().absolute().parent / "tracked")
    begun, seen, count = time.perf_counter(), 0, 0
    frames = follow(
        args.video, masks=args.mask, points=points, encoder=args.encoder, at=args.at, lines=args.lines
    )
    with Progress(console=Console(stderr=True), disable=args.json, transient=True) as bar:
        first = next(frames)
        task = bar.add_task("tracking", total=None)
        with TrackFiles(folder) as files:
            files.add(first)
            for one in frames:
                files.add(one)
                seen += int(one.visible.sum())
                bar.update(task, advance=1)
            count = files.count
    rate = (count - 1) / max(time.perf_counter() - begun, 1e-9)
    result = {
        "frames": count,
        "seconds": round(one.seconds - first.seconds, 3) if count > 1 else 0.0,
        "frames_a_second": round(rate, 2),
        "encoder": args.encoder,
        "out": str(folder),
    }
    if points:
        result["visible"] = round(seen / max(1, (count - 1) * len(points)), 4)
    what = f"points.csv with {len(points)} points" if points else "masks/ as PNGs"
    show(args, result, f"{count:,} frames, {rate:.1f} a second. {folder} holds {what}, and overlay.mp4.")


def _point(words: str) -> tuple[float, float]:
    """Read "320,180"."""
    try:
        x, y = (float(word) for word in words.split(","))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise BadInput(f"Points are pairs of x and y in pixels, such as 320,180; got {words!r}.")
    return x, y
