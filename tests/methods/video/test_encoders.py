"""Video encoders: torchvision's networks as they are, a small C3D, tubelets, and image encoders on frames."""

import numpy as np
import pytest
import torch
from torchvision.models import video as torchvisions

import vergence
from vergence.core import BadInput, Features
from vergence.data.video.example import example
from vergence.methods.video import encoders
from vergence.views.clips import evenly


@pytest.mark.parametrize(("name", "theirs"), [("r3d-18", "r3d_18"), ("r2plus1d-18", "r2plus1d_18")])
def test_the_networks_of_papers_answer_as_torchvisions_do(name, theirs):
    torch.manual_seed(0)
    own = encoders.build(name, size=32, frames=8).eval()
    net = getattr(torchvisions, theirs)(weights=None).eval()
    net.fc = torch.nn.Identity()
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in net.parameters())
    parts = ["stem", "layer1", "layer2", "layer3", "layer4"]
    begins = ["stages.0.0", "stages.0.1", *(f"stages.{i}" for i in (1, 2, 3))]
    names = dict(zip(begins, parts, strict=True))
    state = {}
    for key, value in own.state_dict().items():
        begin = next(old for old in names if key.startswith(f"{old}."))
        state[names[begin] + key[len(begin) :]] = value
    net.load_state_dict(state)
    clips = torch.rand(2, 8, 3, 32, 32)
    seen = own(clips)
    torch.testing.assert_close(seen.pooled, net(own.volume(clips)))
    assert seen.grid == (1, 2, 2) and seen.stride == (8, 16, 16)


@pytest.mark.parametrize(
    ("name", "options", "grid"),
    [
        ("c3d-small", {"width": 4}, (1, 4, 4)),
        ("tubelet-micro", {}, (4, 4, 4)),
        ("tubelet-small", {"tubelet": 4}, (2, 8, 8)),
        ("resnet-tiny", {"width": 4}, (8, 2, 2)),
    ],
)
def test_an_encoder_gives_a_vector_a_clip_and_tokens_on_a_grid(name, options, grid):
    encoder = encoders.build(name, size=16, frames=8, **options).eval()
    clips = torch.rand(3, 8, 3, 16, 16)
    seen = encoder(clips)
    assert isinstance(seen, Features) and seen.pooled.shape == (3, encoder.out_dim)
    assert seen.grid == grid and seen.tokens.shape == (3, np.prod(grid), encoder.out_dim)
    again = encoders.build(**encoder.spec).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(clips).pooled, seen.pooled)
    torch.testing.assert_close(
        encoder((clips * 255).round().byte()).pooled, seen.pooled, atol=2e-2, rtol=2e-2
    )


def test_the_order_of_frames_matters_to_networks_of_time_and_not_to_the_mean_over_frames():
    torch.manual_seed(0)
    clips = torch.rand(2, 8, 3, 16, 16)
    for name, same in (("c3d-small", False), ("tubelet-micro", False), ("resnet-tiny", True)):
        encoder = encoders.build(name, size=16, frames=8).eval()
        equal = torch.allclose(encoder(clips).pooled, encoder(clips.flip(1)).pooled, atol=1e-5)
        assert equal is same, name


def test_a_class_on_frames_is_made_again_from_its_spec():
    place = "vergence.benchmarks.records._looks:Linear"
    made = encoders.build("frames", frames=4, encoder={"name": place})
    assert made.spec["encoder"] == {"name": place}
    again = encoders.build(**made.spec)
    again.load_state_dict(made.state_dict())


def test_an_image_encoder_on_frames_is_the_mean_of_its_vectors():
    images = vergence.encoder("resnet-tiny", size=16, width=8).eval()
    encoder = encoders.on_frames(images, frames=4)
    batch = next(example().loader(5, spec=encoder.reading_spec))
    seen = encoder.eval()(batch)
    by_hand = torch.stack([images(batch.pixels[:, t].float() / 255).pooled for t in range(4)], 1).mean(1)
    torch.testing.assert_close(seen.pooled, by_hand)
    more = next(example().loader(5, spec=encoder.input_spec))
    assert more.pixels.shape[1] == 8
    torch.testing.assert_close(encoder(more).pooled, encoder(more.take(evenly(8, 4))).pooled)


def test_image_encoders_with_weights_read_videos(tmp_path):
    source = example().subset(np.arange(8))
    shipped = vergence.embed("vergence:conv-tiny", source, tmp_path / "a.lance")
    assert len(shipped) == 8 and np.isfinite(shipped.vectors()).all()
    assert vergence.encoder("timm:resnet10t", source, size=32).spec["encoder"]["name"] == "timm:resnet10t"


def test_masked_and_left_out_cells_of_a_tubelet_transformer():
    torch.manual_seed(0)
    encoder = encoders.build("tubelet-micro", size=16, frames=8).eval()
    clips = torch.rand(2, 8, 3, 16, 16)
    everything = torch.arange(64).expand(2, -1)
    torch.testing.assert_close(encoder(clips, keep=everything).tokens, encoder(clips).tokens)
    keep, changed = everything[:, :20], clips.clone()
    changed[:, 4:] = 0  # cells 32 and later
    torch.testing.assert_close(encoder(clips, keep=keep).tokens, encoder(changed, keep=keep).tokens)
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[:, 32:] = True
    token = torch.randn(96)
    seen, other = (encoder(x, mask=mask, mask_token=token).tokens for x in (clips, changed))
    torch.testing.assert_close(seen, other)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("c3d-smal", {}, "Unknown encoder of videos 'c3d-smal'; did you mean 'c3d-small'"),
        ("c3d-small", {"widht": 8}, "Unknown option of c3d-small 'widht'; did you mean 'width'"),
        ("frames", {}, "'frames' needs the encoder of images"),
        ("tubelet-micro", {"frames": 7}, "multiples"),
        ("c3d-small", {"read": 2}, "needs read of 8 frames or more"),
    ],
)
def test_a_mistake_is_one_line(name, options, said):
    with pytest.raises(BadInput, match=said):
        encoders.build(name, size=16, **options)


def test_gradients_on_a_cpu_do_not_depend_on_what_lay_in_memory():
    """In bfloat16 torch leaves a part of them unwritten."""
    torch.manual_seed(0)
    encoder, clips = encoders.build("c3d-small", size=16, frames=4, width=4), torch.rand(4, 4, 3, 16, 16)

    def gradients(enabled):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            encoder(clips).pooled.square().mean().backward()
        return [weight.grad for weight in encoder.parameters()]

    for half, whole in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(half, whole)
