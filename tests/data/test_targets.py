"""Targets: picked like samples, carried by batches that ask for them, one line where they are missing."""

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.core import BadInput, Method, Recipe
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import (
    KINDS,
    Boundaries,
    Boxes,
    Captions,
    Depth,
    Flow,
    Instances,
    Keypoints,
    Masks,
    Tags,
    Values,
)

N, H, W = 10, 12, 16


def everything():
    """One target of every kind, whose numbers say which sample they are of."""
    number = torch.arange(N)
    counts = [i % 3 for i in range(N)]  # of boxes and things
    of = torch.tensor([i for i, count in enumerate(counts) for _ in range(count)])
    layers = of.float()[:, None, None].expand(-1, H, W)
    flat = number.float()[:, None, None].expand(N, H, W)
    return {
        "boxes": Boxes.of_samples(
            [[[i, 0, i + 1, 2]] * c for i, c in enumerate(counts)], [[i] * c for i, c in enumerate(counts)]
        ),
        "masks": Masks(flat.to(torch.int16)),
        "instances": Instances(of, layers > 4, of),
        "keypoints": Keypoints.of_samples(flat[:, :3, :2], names=("a", "b", "c")),
        "boundaries": Boundaries(of, layers / N),
        "depth": Depth(flat),
        "flow": Flow(flat[:, None].expand(N, 2, H, W)),
        "tracks": Keypoints.of_samples(flat[:, :5, :2]),
        "captions": Captions(tuple((f"this is {i}",) * c for i, c in enumerate(counts))),
        "tags": Tags(number[:, None] > torch.tensor([3, 6]), torch.ones(N, 2, dtype=torch.bool)),
        "domain": Values(number, names=tuple(map(str, range(N)))),
    }


def source(**options):
    pixels = np.arange(N, dtype=np.uint8)[:, None, None, None].repeat(H, 1).repeat(W, 2).repeat(3, 3)
    reader = PixelReader(pixels, np.arange(N) % 2, ["even", "odd"], "made")
    return ImageSource(reader, "made", pixels=pixels, **options)


def test_every_target_is_picked_like_the_samples_it_is_of():
    rows = torch.tensor([7, 2, 2, 0])
    for name, target in everything().items():
        picked = target.pick(rows)
        assert type(picked) is type(target) is KINDS[name]
        if name == "captions":
            assert picked.texts == (("this is 7",), ("this is 2",) * 2, ("this is 2",) * 2, ())
            continue
        if hasattr(picked, "of"):
            own = target.of.tolist()
            expected = [(k, j) for k, i in enumerate(rows.tolist()) for j, o in enumerate(own) if o == i]
            assert picked.of.tolist() == [k for k, _ in expected] and len(picked) == len(expected)
            places = [j for _, j in expected]
        else:
            places = rows.tolist()
        for field in (
            "xyxy",
            "label",
            "share",
            "classes",
            "masks",
            "xy",
            "visibility",
            "maps",
            "values",
            "uv",
        ):
            if (value := getattr(target, field, None)) is not None:
                assert torch.equal(getattr(picked, field), value[places]), (name, field)
                assert type(getattr(picked, field)) is type(value)


def test_batches_carry_what_is_asked_for_and_nothing_without():
    plain = source(targets=everything())
    assert plain.targets == ("labels", *everything())
    assert next(plain.loader(4)).targets is None
    chosen = plain.subset([9, 8, 5, 2]).with_targets(["labels", "boxes", "masks"], "this test")
    assert chosen.reads == ("boxes", "masks") and plain.reads == ()
    batches = list(chosen.loader(3, shuffle=True, seed=1, drop_last=True))
    assert sum(len(b) for b in batches) == 3
    for batch in batches:
        shown = batch.pixels[:, 0, 0, 0].long()
        assert set(batch.targets) == {"boxes", "masks"}
        assert torch.equal(batch.targets["masks"].classes[:, 0, 0].long(), shown)
        assert torch.equal(batch.targets["boxes"].label, shown[batch.targets["boxes"].of])
        assert batch.targets["boxes"].xyxy.canvas_size == (H, W)
        assert batch.to("cpu").targets["masks"].classes.shape == (3, H, W)


def test_a_target_is_read_by_sample_in_the_order_of_a_subset():
    part = source(targets=everything()).subset([8, 3])
    assert part.target("domain").values.tolist() == [8, 3]
    assert part.target("domain", np.array([1])).values.tolist() == [3]
    labels = part.target("labels")
    assert labels.values.tolist() == [0, 1] and labels.names == ("even", "odd")


def test_pictures_that_carry_targets_are_neither_shrunk_nor_cut():
    long = np.zeros((4, 8, 64, 3), np.uint8)
    masks = Masks(torch.zeros(4, 8, 64, dtype=torch.int16))
    wide = ImageSource(PixelReader(long, None, None, "long"), "long", targets={"masks": masks})
    for spec in (None, {"size": 4}):
        assert next(wide.loader(4, spec=spec)).pixels.shape[2:] != (8, 64)
        batch = next(wide.with_targets(["masks"], "this test").loader(4, spec=spec))
        assert batch.pixels.shape[2:] == batch.targets["masks"].classes.shape[1:] == (8, 64)


def test_maps_of_another_size_than_the_pictures_are_one_line():
    wrong = source(targets={"masks": Masks(torch.zeros(N, 5, 5))}).with_targets(["masks"], "this test")
    with pytest.raises(BadInput, match="Masks of 5 x 5 pixels do not fit pictures of 12 x 16"):
        next(wrong.loader(2))


def test_what_is_missing_or_does_not_exist_is_said_by_name():
    with pytest.raises(BadInput) as error:
        source(targets={"masks": everything()["masks"]}).require(["labels", "boxes"], "lost")
    assert str(error.value) == "lost needs boxes, which made does not hold: of targets it has labels, masks."
    with pytest.raises(BadInput, match="graphcl needs keypoints, which karate does not hold"):
        vergence.open("karate").with_targets(["keypoints"], "graphcl")
    with pytest.raises(BadInput, match="Unknown target 'boxs'; did you mean 'boxes'"):
        source().require(["boxs"], "lost")
    with pytest.raises(ValueError, match="got 1 boxes and 2 labels"):
        Boxes.of_samples([[[0, 0, 1, 1]]], [[0, 1]])


class Colour(Method):
    """Learns which class the pixels of its view are of."""

    recipe = Recipe(optimizer="adam", lr=0.1, lr_scaling="none", batch=8, epochs=2)
    reads = ("masks",)

    def __init__(self, encoder):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, N)

    def loss(self, views):
        seen = [view.targets["masks"].classes[:, 4, 4].long() for view in views]
        return {
            "class": sum(
                nn.functional.cross_entropy(self.head(self.encode(v)), y)
                for v, y in zip(views, seen, strict=True)
            )
        }


def test_a_method_that_reads_masks_learns_from_them_or_is_told_that_there_are_none(tmp_path):
    options = {"encoder": "vit-micro", "size": 8, "epochs": 1, "batch_size": 4, "quiet": True}
    run = vergence.learn(Colour, source(targets=everything()), out=tmp_path / "run", **options)
    assert "class" in (run.path / "metrics.csv").read_text()
    with pytest.raises(
        BadInput, match="Colour needs masks, which made does not hold: of targets it has labels"
    ):
        vergence.learn(Colour, source(), out=tmp_path / "none", **options)
