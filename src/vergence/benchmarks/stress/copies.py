"""Are planted copies among photos found, and nothing else? Command, report and studio are asked alike.

Of 2,000 photos of Caltech-101, 60 are copied: mirrored, cropped, brightened, written as JPEG of low quality,
or made smaller. `vergence demo` learns from all of them for two minutes. `Faces_easy` is left out, since it
holds crops of `Faces`, and so is the background.

    python -m vergence.benchmarks.stress.copies [--keep DIR]  # writes benchmarks/results/copies.json
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import data_root, machine
from vergence.engine.files import write_json
from vergence.reports.walkthrough import demo
from vergence.store.table import Store
from vergence.studio.review import Review
from vergence.use.copies import duplicates

PHOTOS, COPIES = 2_000, 60
LEFT_OUT = ("Faces_easy", "BACKGROUND_Google")
_EDGE, _LIGHTER, _QUALITY = 0.1, 1.4, 20  # share cut from each side, factor of brightness, of JPEG


def _cropped(photo: Image.Image) -> Image.Image:
    wide, tall = photo.size
    return photo.crop(
        (int(_EDGE * wide), int(_EDGE * tall), int((1 - _EDGE) * wide), int((1 - _EDGE) * tall))
    )


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "flip": ImageOps.mirror,
    "crop": _cropped,
    "brightness": lambda photo: ImageEnhance.Brightness(photo).enhance(_LIGHTER),
    "jpeg": lambda photo: photo,
    "resize": lambda photo: photo.resize((photo.width // 2, photo.height // 2)),
}


def plant(folder: Path, seed: int) -> dict[str, tuple[str, str]]:
    """Write photos and copies into ``folder``; return for each copy its original's id and its edit."""
    files = sorted(p for p in (data_root() / "caltech101").rglob("*.jpg") if p.parent.name not in LEFT_OUT)
    rng = np.random.default_rng(seed)
    chosen = [files[number] for number in rng.permutation(len(files))[:PHOTOS]]
    names = list(EDITS)
    planted = {}
    for number, path in enumerate(chosen):
        name = f"{number:04d}.jpg"
        (folder / name).write_bytes(path.read_bytes())
        if number < COPIES:
            edit = names[number % len(names)]
            with Image.open(path) as photo:
                edited = EDITS[edit](photo.convert("RGB"))
            copy = f"copy-{number:04d}.jpg"
            edited.save(folder / copy, quality=_QUALITY if edit == "jpeg" else 92)
            planted[copy] = (name, edit)
    return planted


def answers(store: Store, page: Path) -> dict[str, int]:
    """Return how many pairs the command, the report's page and the studio find in ``store``."""
    command = [sys.executable, "-m", "vergence.cli", "duplicates", str(store.path), "--json"]
    printed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    tile = re.search(r"<dt>Near-duplicates</dt><dd>([\d,]+)", page.read_text())
    review = Review(store, "vector")
    review.find()
    return {
        "command": printed["total"],
        "report": int(tile[1].replace(",", "")) if tile else -1,
        "studio": review.pairs,
    }


def score(store: Store, planted: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Return precision and recall of the pairs found, by edit, and the pairs that were not planted."""
    names = store.names
    pairs = {frozenset((names[a], names[b])) for a, b in duplicates(store).pairs.tolist()}
    truth = {frozenset((copy, original)): edit for copy, (original, edit) in planted.items()}
    by_edit = {
        edit: sum(pair in pairs for pair, e in truth.items() if e == edit) / (COPIES // len(EDITS))
        for edit in EDITS
    }
    hits = len(pairs & truth.keys())
    return {
        "precision": round(hits / max(len(pairs), 1), 3),
        "recall": round(hits / len(truth), 3),
        "recall by edit": {edit: round(share, 3) for edit, share in by_edit.items()},
        "not planted": sorted(" ".join(sorted(pair)) for pair in pairs - truth.keys()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", help="a folder that does not exist, for photos, run, store and page")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(args.keep or temporary)
        (root / "photos").mkdir(parents=True)
        planted = plant(root / "photos", seed=0)
        page = demo(root / "photos", out=root / "demo")
        store = Store.open(page.parent / "embeddings.lance")
        result = {
            "what": f"{PHOTOS:,} photos of Caltech-101 and {COPIES} edited copies, after `vergence demo`",
            **score(store, planted),
            "pairs": answers(store, page),
            "machine": machine(),
            "command": "python -m vergence.benchmarks.stress.copies",
        }
    print(json.dumps(result, indent=2))
    write_json(RESULTS / "copies.json", result)


if __name__ == "__main__":
    main()
