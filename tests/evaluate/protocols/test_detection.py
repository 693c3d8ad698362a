import pytest
import torch

from vergence.core.errors import MissingExtra
from vergence.data.targets import Boxes
from vergence.evaluate.protocols.detection import Detections, average_precision, corloc


def scene(pictures=12, seed=0, classes=2):
    """Boxes, and detections that are near some of them, beside others that are nowhere near."""
    g = torch.Generator().manual_seed(seed)
    of = torch.arange(pictures).repeat_interleave(3)
    corner, side = torch.rand(len(of), 2, generator=g) * 60, 10 + torch.rand(len(of), 2, generator=g) * 30
    xyxy, label = torch.cat([corner, corner + side], 1), torch.randint(classes, (len(of),), generator=g)
    truth = Boxes.of_samples(
        [xyxy[of == i] for i in range(pictures)], [label[of == i] for i in range(pictures)]
    )
    near = xyxy + torch.randn(len(of), 4, generator=g) * 3
    far = torch.cat([corner, corner + 5], 1).roll(1, 0)
    score = torch.rand(2 * len(of), generator=g)
    return truth, Detections(of.repeat(2), torch.cat([near, far]), score, label.repeat(2))


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def slow_ap(truth, result, at, classes):
    """Return AP at one overlap, written as loops: surest first, each true box once, 101 recalls."""
    values = []
    for c in range(classes):
        true = [
            (i, box)
            for i, box, y in zip(truth.of.tolist(), truth.xyxy.tolist(), truth.label.tolist(), strict=True)
            if y == c
        ]
        mine = [m for m in range(len(result.of)) if result.label[m] == c]
        taken, hits = set(), []
        for m in sorted(mine, key=lambda m: -float(result.score[m])):
            best, chosen = at, None
            for j, (i, box) in enumerate(true):
                if (
                    i == result.of[m]
                    and j not in taken
                    and (over := iou(result.xyxy[m].tolist(), box)) >= best
                ):
                    best, chosen = over, j
            hits.append(chosen is not None)
            taken.add(chosen)
        right = torch.tensor(hits).cumsum(0)
        recall, precision = right / len(true), right / torch.arange(1, len(hits) + 1)
        values.append(
            sum(
                float(precision[recall >= r / 100 - 1e-9].max()) if (recall >= r / 100 - 1e-9).any() else 0.0
                for r in range(101)
            )
            / 101
        )
    return sum(values) / classes


def test_average_precision_equals_its_definition_written_as_loops():
    pytest.importorskip("faster_coco_eval")
    truth, result = scene()
    made = average_precision(result, truth, pictures=12, repeats=30)
    overlaps = [0.5 + 0.05 * i for i in range(10)]
    slow = [slow_ap(truth, result, at, 2) for at in overlaps]
    assert made["AP50"].value == pytest.approx(slow[0], abs=1e-6)
    assert made["AP75"].value == pytest.approx(slow[5], abs=1e-6)
    assert made["AP"].value == pytest.approx(sum(slow) / 10, abs=1e-6)
    for score in made.values():
        assert 0 <= score.low <= score.value <= score.high <= 1


def test_perfect_boxes_score_one_in_every_resample_and_none_score_zero():
    pytest.importorskip("faster_coco_eval")
    truth, _ = scene()
    perfect = Detections(truth.of, truth.xyxy, torch.rand(len(truth)))
    made = average_precision(perfect, truth, pictures=14, repeats=20)  # two pictures hold nothing
    assert {(s.value, s.low, s.high) for s in made.values()} == {(1.0, 1.0, 1.0)}
    none = Detections(truth.of[:0], truth.xyxy[:0], torch.rand(0))
    assert average_precision(none, truth, pictures=14)["AP"].value == 0
    with pytest.raises(ValueError, match="needs true boxes"):
        average_precision(perfect, Boxes.of_samples([[]]), pictures=1)


def test_the_interval_is_of_pictures_drawn_again():
    """Half of the pictures are perfect and half are missed: recall moves with the share that is drawn."""
    pytest.importorskip("faster_coco_eval")
    truth, _ = scene(classes=1)
    seen = truth.of < 6
    half = Detections(truth.of[seen], truth.xyxy[seen], torch.ones(int(seen.sum())))
    score = average_precision(half, truth, pictures=12, repeats=300)["AP50"]
    assert score.value == pytest.approx(0.5, abs=0.01)
    assert 0.15 < score.low < 0.35 and 0.65 < score.high < 0.85


def test_corloc_is_the_share_of_pictures_whose_box_meets_a_true_one():
    truth, _ = scene()
    boxes = truth.xyxy.as_subclass(torch.Tensor)[torch.arange(12) * 3 + 1].clone()
    boxes[:4] += torch.tensor([100.0, 0, 100, 0])
    right = [
        any(iou(box.tolist(), true.tolist()) >= 0.5 for true in truth.xyxy[truth.of == i])
        for i, box in enumerate(boxes)
    ]
    score = corloc(boxes, truth)
    assert score.value == sum(right) / 12 == pytest.approx(8 / 12) and score.n == 12
    few = Boxes.of_samples([[[0, 0, 4, 4]], [], [[0, 0, 4, 4]]])
    assert corloc(torch.tensor([[0.0, 0, 4, 3], [0, 0, 4, 4], [0, 0, 1, 1]]), few).value == 0.5


def test_without_the_library_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    truth, result = scene()
    with pytest.raises(MissingExtra, match=r"needs faster_coco_eval, which is not installed: .*\[bench\]'"):
        average_precision(result, truth, pictures=12)
