import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize, one_hot, unfold

import vergence
from vergence.core import BadInput
from vergence.data.video.batch import VideoBatch
from vergence.losses.walk import arrival_nce, round_trips, step_chances
from vergence.methods.video.crw import CRW
from vergence.methods.video.encoders import build
from vergence.methods.video.views import jittered_patches
from vergence.use.tracking import track

CONTRACT = {
    "encoder": {"name": "resnet-tiny", "width": 8, "blocks": (1,), "frames": 4, "read": 8},
    "options": {"dim": 16, "patch": 0.5},
    "learn": {"lr": 5e-3},
    "two": {"": {"options": {"dropout": 0.0}}},
    "exempt": {"labels": "no single frame of the waves says their way, and the encoder sees single frames"},
}


def make(*, size=16, **options):
    torch.manual_seed(0)
    encoder = build("resnet-tiny", size=size, width=8, blocks=(1,), frames=4)
    return CRW(encoder, **{"dim": 6, "patch": 0.5, "dropout": 0.0, **options})


def clips(b=2, t=8, side=20):
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (b, t, 3, side, side), dtype=torch.uint8)
    return VideoBatch(pixels, torch.arange(b), torch.full((b,), -1), torch.arange(t).expand(b, t) / 8)


@pytest.mark.parametrize("walks", [{}, {"shortest": 1}, {"shortest": 1, "longest": 1}])
def test_the_loss_is_the_mean_over_walks_and_patches_written_as_loops(walks):
    method = make(temperature=0.3, **walks).eval()
    patches = torch.rand(2, 4, 9, 3, 8, 8)
    vectors = method.project(method.nodes(patches.flatten(0, 2)).pooled)
    q = normalize(vectors, dim=1).view(2, 4, 9, 6)

    def step(of, to):
        """Chances from each patch of one frame to those of another, row by row."""
        return torch.stack([torch.stack([(a @ b) / 0.3 for b in to]).softmax(0) for a in of])

    costs = []
    for clip in q:
        for out in range(walks.get("shortest", 2), walks.get("longest", 3) + 1):
            way = [*range(out + 1), *reversed(range(out))]
            ends = torch.eye(9)
            for i, j in zip(way, way[1:], strict=False):
                ends = ends @ step(clip[i], clip[j])
            costs.append(-ends.diagonal().log().mean())
    torch.testing.assert_close(method.loss(patches)["cycle"], torch.stack(costs).mean())


def test_shuffled_patches_that_are_known_apart_come_home_and_patches_all_alike_go_anywhere():
    torch.manual_seed(0)
    order = torch.stack([torch.randperm(7) for _ in range(4)])
    home = torch.arange(7)[None]
    known = round_trips(one_hot(order, 7)[None].float(), temperature=0.05)
    alike = round_trips(torch.ones(1, 4, 7, 5), temperature=0.05)
    assert len(known) == len(alike) == 3
    for trip in known:
        assert arrival_nce(trip, home) < 1e-6
    for trip in alike:
        assert arrival_nce(trip, home).item() == pytest.approx(math.log(7))


def test_each_way_is_a_softmax_of_its_own_and_loses_its_own_edges():
    torch.manual_seed(0)
    frames = normalize(torch.randn(1, 2, 5, 3), dim=-1)
    scores = frames[0, 0] @ frames[0, 1].T
    (trip,) = round_trips(frames, temperature=0.1)
    torch.testing.assert_close(trip[0], (scores / 0.1).softmax(1) @ (scores.T / 0.1).softmax(1))
    many = torch.zeros(40, 50, 60)
    before = many.clone()
    chances = step_chances(many, temperature=0.1, dropout=0.3)
    assert torch.equal(many, before)
    assert (chances == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(chances.sum(2), torch.ones(40, 50))
    assert step_chances(torch.zeros(1, 4), temperature=0.1, dropout=0.999).isfinite().all()
    (cut,) = round_trips(torch.ones(200, 2, 6, 2), temperature=1.0, dropout=0.5)
    assert cut.std() > 0.01  # were the same edges cut both ways, each patch could always go back


def test_only_walks_that_count_do():
    chances = torch.tensor([[[0.5, 0.5], [0.1, 0.9]]])
    home = torch.tensor([[0, 0]])
    first = torch.tensor([[True, False]])
    assert arrival_nce(chances, home, first).item() == pytest.approx(math.log(2))
    assert arrival_nce(chances, home, ~first).item() == pytest.approx(math.log(10))
    assert arrival_nce(chances, home, first & ~first) == 0


def test_patches_overlap_by_half_and_crops_of_the_whole_are_the_patches():
    frames = torch.rand(2, 3, 16, 16)
    whole = jittered_patches(frames, 8, scale=(1, 1), ratio=(1, 1))
    cut = unfold(frames, 8, stride=4).unflatten(1, (3, 8, 8)).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(whole, cut, rtol=1e-5, atol=1e-5)
    plane = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    across = jittered_patches(plane, 8, scale=(0.5, 0.7))[0].mean((1, 2, 3)).view(3, 3)
    assert (across.diff(dim=1) > 0.1).all()  # each stays where it was
    inner = jittered_patches(frames, 8, scale=(0.5, 0.5), ratio=(1, 1))
    assert not torch.allclose(inner, whole)


def test_views_are_frames_in_order_with_a_crop_each():
    method = make(size=16)
    batch = clips()
    batch.pixels[:] = (25 * torch.arange(8)).view(1, 8, 1, 1, 1)
    seen = method.views(batch)
    assert seen.shape == (2, 4, 9, 3, 8, 8)
    level = seen.mean((2, 3, 4, 5))
    assert (level.diff(dim=1) > 0).all()
    assert (level[:, -1] - level[:, 0] >= 25 / 255 * 3 - 1e-5).all()


def test_what_a_run_on_videos_has_learned_carries_points(tmp_path):
    from vergence.data.video.example import example

    source = example().subset(np.arange(32))
    vergence.learn(
        CRW, source, encoder="resnet-tiny", encoder_options={"width": 8, "blocks": (1,), "frames": 4},
        epochs=1, batch_size=16, out=tmp_path / "run", quiet=True, dim=8, patch=0.5,
    )  # fmt: skip
    frames = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8).repeat(3, 0)
    by_path = track(frames, points=[(9, 21)], encoder=f"run:{tmp_path / 'run'}")
    by_net = track(frames, points=[(9, 21)], encoder=vergence.load(tmp_path / "run").backbone)
    np.testing.assert_array_equal(by_path.points, by_net.points)
    np.testing.assert_allclose(by_path.points[-1, 0], (9, 21), atol=2)  # nothing moves


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="CRW needs an image encoder on frames, such as --encoder resnet18;"):
        CRW(build("c3d-small", size=16, frames=4, width=4))
    with pytest.raises(BadInput, match="has 1 to 3 steps out; got shortest=2 and longest=4"):
        make(longest=4)
    with pytest.raises(BadInput, match="Patches of 0.05 of 16 pixels are too small"):
        make(patch=0.05)
    with pytest.raises(ValueError, match="got 0 and 0.0"):
        step_chances(torch.zeros(2, 2), temperature=0)
