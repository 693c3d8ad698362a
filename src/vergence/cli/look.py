"""``vergence explain``: look into what an encoder sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vergence.cli.options import Options
from vergence.cli.show import show
from vergence.core.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

_SIDE = 320  # of a picture on the page, in pixels


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
    asked = parser.read(argv)
    from vergence.learn.api import open_run
    from vergence.use.simvis import explain_pictures

    run = open_run(asked.run)
    size = getattr(run.encoder, "size", None)
    if size is None:
        raise BadInput(f"{asked.run} did not learn from images; explain compares two images.")
    pictures = [_picture(asked.first, size), _picture(asked.second, size)]
    why = explain_pictures(run.encoder, *pictures)
    score, maps = float(why.score[0]), (why.first[0], why.second[0])
    if asked.out:
        from vergence.cli.page import enlarged, heated, write_page

        most = max(float(part.abs().max()) for part in maps)
        larger = [part[0].cpu().numpy() for part in why.upsampled(_SIDE, _SIDE)]
        shown = []
        for path, picture, heat in zip((asked.first, asked.second), pictures, larger, strict=True):
            plain = (picture[0].permute(1, 2, 0).numpy() * 255).round().astype("uint8")
            plain = enlarged(plain, _SIDE)
            shown.append(
                (path, [(plain, path), (heated(plain, heat, most), "what speaks for it, and against")])
            )
        lead = (
            f"The encoder gives them a cosine of {score:.3f}. Red places speak for their likeness, blue ones "
            "against it, both pictures in one scale; all places of a picture add up to the cosine."
        )
        write_page(asked.out, "Why these two are alike", lead, shown)
    found = {
        "cosine": round(score, 4),
        "first": {"image": asked.first, "map": maps[0].cpu().numpy().round(5)},
        "second": {"image": asked.second, "map": maps[1].cpu().numpy().round(5)},
    }
    lines = [f"cosine {score:.3f}"]
    for path, part in zip((asked.first, asked.second), maps, strict=True):
        place = int(part.argmax())
        row, column = divmod(place, part.shape[1])
        lines.append(
            f"{path}: most of it comes from row {row + 1} of {part.shape[0]}, column {column + 1} of "
            f"{part.shape[1]} ({float(part.max()):.3f})"
        )
    show(asked, found, "\n".join(lines) + (f"\nBoth maps are in {asked.out}." if asked.out else ""))


def _picture(path: str, size: int) -> Tensor:
    """Return an image file's central square, ``(1, 3, size, size)`` in [0, 1]."""
    from vergence.data.folder import FolderShelf
    from vergence.data.image_source import ImageSource
    from vergence.learn.image.views import plain

    place = Path(path)
    if not place.is_file():
        raise BadInput(f"There is no image file {path}.")
    source = ImageSource(FolderShelf(place.parent, [place.name]), str(place.parent))
    batch = next(source.loader(1, size=size), None)
    source.skipped.check(1, path)
    assert batch is not None
    return plain(batch, size)
