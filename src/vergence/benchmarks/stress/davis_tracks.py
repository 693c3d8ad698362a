"""How well does ``vg.track`` carry the mask of the first frame through the clips of DAVIS-2016, and how fast?

Every third frame (8 a second) of 240 lines. Cows, camel and goat are what settings were chosen on; the others
judge, and the copied first mask stands beside. A sheet shows what was found, a clip a row.

    python -m vergence.benchmarks.stress.davis_tracks [--sheet davis.png]  # davis_tracks.json
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from PIL import Image

from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import machine
from vergence.benchmarks.records.labelprop import JUDGED, clip
from vergence.engine.files import write_json
from vergence.evaluate.protocols.j_and_f import contour_accuracy, region_similarity
from vergence.reports.track_files import drawn
from vergence.use.tracking import LINES, Tracked, Tracks, track

CHOSEN_ON = ("cows", "camel", "goat")
ENCODERS = ("vergence:conv-tiny", "vergence:vit-tiny")
SHOWN = 5  # frames of a clip on the sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="*", default=ENCODERS)
    parser.add_argument("--clips", nargs="*", default=(*CHOSEN_ON, *JUDGED))
    parser.add_argument("--sheet", help="picture of what the first encoder carried")
    args = parser.parse_args()
    rows: list[np.ndarray] = []
    table: dict[str, dict[str, dict[str, float]]] = {}
    for encoder in args.encoders:
        for name in args.clips:
            score, pictures = followed(name, encoder)
            table.setdefault(encoder, {})[name] = score
            print(f"{encoder}, {name}: {score}", file=sys.stderr, flush=True)
            if encoder == args.encoders[0]:
                rows.append(pictures)
    write_json(RESULTS / "davis_tracks.json", {"what": __doc__.split("\n\n")[1], **about(table)})
    if args.sheet:
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows]
        Image.fromarray(np.concatenate(padded)).save(args.sheet)


def followed(name: str, encoder: str) -> tuple[dict[str, float], np.ndarray]:
    """Track one clip; return J, F, those of the first mask copied, frames a second, and a row of pictures."""
    shown = clip(name)
    frames = shown.pixels.permute(0, 2, 3, 1).numpy()
    begun = time.process_time()
    tracks = track(frames, masks=shown.masks[0].numpy(), encoder=encoder)
    rate = len(tracks) / (time.process_time() - begun)
    copied = shown.masks[:1].expand(len(shown) - 1, -1, -1)
    j, f = _j_and_f(torch.from_numpy(tracks.masks[1:]), shown.masks[1:])
    still_j, still_f = _j_and_f(copied, shown.masks[1:])
    score = {"J": j, "F": f, "J copied": still_j, "F copied": still_f, "frames a CPU second": round(rate, 2)}
    return score, _pictures(frames, tracks)


def about(table: dict[str, dict[str, dict[str, float]]]) -> dict[str, object]:
    """Return the means over the clips that judge, and where all was measured."""
    means = {
        encoder: {
            word: round(float(np.mean([by_clip[name][word] for name in JUDGED if name in by_clip])), 4)
            for word in next(iter(by_clip.values()))
        }
        for encoder, by_clip in table.items()
        if set(by_clip) & set(JUDGED)
    }
    return {
        "means of the clips that judge": means,
        "clips": table,
        "lines": LINES,
        "machine": machine(),
        "command": "python -m vergence.benchmarks.stress.davis_tracks",
    }


def _j_and_f(carried: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    both = carried == 1, truth == 1
    scores = region_similarity(*both).mean(), contour_accuracy(*both).mean()
    return round(float(scores[0]), 4), round(float(scores[1]), 4)


def _pictures(frames: np.ndarray, tracks: Tracks) -> np.ndarray:
    """Return some frames at half size, side by side."""
    shown = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int).tolist()
    row = [
        drawn(Tracked(frames[i], tracks.seconds[i], tracks.masks[i], tracks.points[i], tracks.visible[i]))
        for i in shown
    ]
    return np.concatenate([np.asarray(Image.fromarray(one).reduce(2)) for one in row], 1)


if __name__ == "__main__":
    main()
