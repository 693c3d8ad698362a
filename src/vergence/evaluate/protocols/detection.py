"""Average precision of boxes, by faster-coco-eval, which the extra ``bench`` brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import need
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.data.targets import Boxes

NEEDS = ("boxes",)
MOST = 100  # boxes a picture that count, the surest ones


@dataclass(frozen=True)
class Detections:
    """Boxes that someone found.

    Args:
        of: ``(M,)`` int64, the picture of each.
        xyxy: ``(M, 4)`` left, top, right, bottom in pixels.
        score: ``(M,)``, larger is surer.
        label: ``(M,)`` int64; None where boxes have no class.
    """

    of: Tensor
    xyxy: Tensor
    score: Tensor
    label: Tensor | None = None


def average_precision(
    detections: Detections, truth: Boxes, *, pictures: int, repeats: int = 200, seed: int = 0
) -> dict[str, Score]:
    """Score detections as COCO does.

    "AP" is the mean over classes and over the overlaps 0.5, 0.55, ..., 0.95 of the precision at 101
    recalls; "AP50" and "AP75" are at one overlap. The interval is a bootstrap over pictures.

    Args:
        detections: Found; without labels all boxes count as one class.
        truth: True boxes, in the same pixels; those with ``share`` 0 are left out.
        pictures: Their number, with those in which nothing is.
        repeats: Resamples of the pictures.
        seed: Of the resamples.

    Raises:
        MissingExtra: Without faster-coco-eval.
        ValueError: If there are no true boxes.
    """
    library = need("faster_coco_eval", extra="bench")
    valid = truth.share > 0
    if not valid.any():
        raise ValueError("average_precision needs true boxes, got none.")
    one = detections.label is None
    label = torch.zeros(len(detections.of)) if detections.label is None else detections.label
    categories = [0] if one else sorted({*label.tolist(), *truth.label[valid].tolist()})
    known = _coco(library, pictures, categories)
    known.dataset["annotations"] = [
        {"id": i, "iscrowd": 0, **row}
        for i, row in enumerate(
            _rows(truth.of[valid], truth.xyxy.as_subclass(Tensor)[valid], truth.label[valid] * (not one)), 1
        )
    ]
    known.createIndex()
    scores = detections.score.tolist()
    boxes = [
        {"score": score, **row}
        for score, row in zip(scores, _rows(detections.of, detections.xyxy, label), strict=True)
    ]
    if not boxes:
        return {name: Score(0.0, 0.0, 0.0, pictures) for name in ("AP", "AP50", "AP75")}
    judge = library.COCOeval_faster(
        known, known.loadRes(boxes), "bbox", print_function=_silent, separate_eval=True
    )
    judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
    judge.params.maxDets = [MOST]
    judge.evaluate()
    judge.accumulate()
    values = _means(judge)
    drawn = np.array(_resampled(judge, pictures, repeats, seed))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {
        name: Score(value, min(value, float(a)), max(value, float(b)), pictures)
        for name, value, a, b in zip(("AP", "AP50", "AP75"), values, low, high, strict=True)
    }


def corloc(boxes: Tensor, truth: Boxes, *, overlap: float = 0.5, seed: int = 0) -> Score:
    """Share of pictures whose one box overlaps a true one by half or more.

    Args:
        boxes: ``(B, 4)`` left, top, right, bottom, one a picture.
        truth: Of the B pictures; those with ``share`` 0 are left out, and pictures without any.
        overlap: Least intersection over union that counts.
        seed: Of the bootstrap over pictures.

    Source: Deselaers et al. 2010, as object discovery reports it.
    """
    valid = truth.share > 0
    true, of = truth.xyxy.as_subclass(Tensor)[valid], truth.of[valid]
    both = torch.minimum(boxes[of, 2:], true[:, 2:]) - torch.maximum(boxes[of, :2], true[:, :2])
    inside = both.clamp_min(0).prod(1)
    areas = [(part[:, 2:] - part[:, :2]).prod(1) for part in (boxes[of], true)]
    iou = inside / (areas[0] + areas[1] - inside)
    best = torch.zeros(len(boxes)).scatter_reduce(0, of, iou.float(), "amax")
    return mean_score(best[of.unique()] >= overlap, seed=seed)


def _coco(library: Any, pictures: int, categories: list[int]) -> Any:
    coco = library.COCO(print_function=_silent)
    coco.dataset = {
        "images": [{"id": i, "width": 1, "height": 1} for i in range(pictures)],
        "categories": [{"id": c, "name": str(c)} for c in categories],
        "annotations": [],
    }
    return coco


def _rows(of: Tensor, xyxy: Tensor, label: Tensor) -> list[dict[str, Any]]:
    """Return boxes as COCO's files have them: left, top, width, height."""
    sides = xyxy[:, 2:] - xyxy[:, :2]
    boxes, areas = torch.cat([xyxy[:, :2], sides], 1).double().tolist(), sides.prod(1).double().tolist()
    return [
        {"image_id": int(i), "category_id": int(c), "bbox": box, "area": area}
        for i, c, box, area in zip(of.tolist(), label.tolist(), boxes, areas, strict=True)
    ]


def _means(judge: Any) -> tuple[float, float, float]:
    """Return AP, AP50, AP75 of what was accumulated; a class without true boxes does not count."""
    precision = judge.eval["precision"][..., 0, 0]  # (overlaps, recalls, classes)

    def mean(part: np.ndarray) -> float:
        counted = part[part > -1]
        return float(counted.mean()) if counted.size else 0.0

    return mean(precision), mean(precision[0]), mean(precision[5])


def _resampled(judge: Any, pictures: int, repeats: int, seed: int) -> list[tuple[float, float, float]]:
    """Accumulate again over pictures drawn with replacement; what matched what stays."""
    every = judge._evalImgs_cpp  # noqa: SLF001 - matches a picture: nothing public holds them
    rng = np.random.default_rng(seed)
    rows = np.arange(len(every)).reshape(-1, pictures)  # classes and one range of areas, pictures
    means = []
    for _ in range(repeats):
        drawn = rows[:, rng.integers(pictures, size=pictures)]
        judge._evalImgs_cpp = [every[i] for i in drawn.ravel()]  # noqa: SLF001
        judge.accumulate()
        means.append(_means(judge))
    judge._evalImgs_cpp = every  # noqa: SLF001
    return means


def _silent(*said: Any) -> None:
    """Print nothing."""
