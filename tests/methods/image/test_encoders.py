import pytest
import timm
import torch
from PIL import Image

from vergence.core import BadInput
from vergence.data import open as open_source
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build, choice, choose, for_source, names
from vergence.methods.image.views import pair
from vergence.nets import timm_encoder
from vergence.views.pixels.augment import plain

OWN = ["halonet-tiny", "nin", "pgt-tiny", "resnet-tiny", "vit-micro", "vit-small32"]
LARGE = ["halonet-h1"]  # of photos of 256 pixels


def batch(count=4, size=32):
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(count), torch.full((count,), -1))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("name", OWN)
def test_own_encoders_answer_at_every_grain(name, size):
    encoder = build(name, size=size)
    result = encoder(torch.rand(2, 3, size, size))
    b, d, h, w = result.map.shape
    assert (b, d) == (2, encoder.out_dim) == result.pooled.shape
    assert result.tokens.shape == (2, h * w, d)
    torch.testing.assert_close(result.tokens[:, w + 1], result.map[:, :, 1, 1])
    assert len(encoder.layers(torch.rand(2, 3, size, size))) == encoder.depth


@pytest.mark.parametrize("name", OWN)
def test_every_parameter_gets_a_gradient_and_neighbours_do_not_matter(name):
    encoder = build(name, size=32)
    images = torch.rand(4, 3, 32, 32)
    result = encoder(images)
    (result.pooled.square().sum() + result.tokens.sin().sum()).backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
    with torch.no_grad():
        alone, together = encoder.eval()(images[:1]).pooled, encoder(images).pooled[:1]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_tensors_views_and_batches_show_the_same():
    encoder, photos = build("resnet-tiny", size=32).eval(), batch()
    view = pair(32)(photos)[0]
    with torch.no_grad():
        expected = encoder(plain(photos, 32)).pooled
        torch.testing.assert_close(encoder(photos).pooled, expected)
        torch.testing.assert_close(encoder(photos.pixels).pooled, expected)
        torch.testing.assert_close(encoder(view).pooled, encoder(view.pixels).pooled)
    torch.testing.assert_close(encoder.tokens(photos), encoder(photos).tokens)
    with torch.no_grad():
        assert encoder(batch(2, 48)).pooled.shape == (2, 256)


def test_pixels_are_normalised_inside():
    encoder = build("resnet-tiny", size=32)
    grey = encoder.mean.expand(2, 3, 32, 32)
    torch.testing.assert_close(encoder.pixels(grey), torch.zeros(2, 3, 32, 32))
    torch.testing.assert_close(encoder.pixels(grey + encoder.std), torch.ones(2, 3, 32, 32))
    with pytest.raises(BadInput, match=r"RGB pixels \(B, 3, H, W\); got \(2, 1, 8, 8\)"):
        encoder(torch.rand(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet-tiny", {"width": 16, "blocks": (1, 2)}),
        ("vit-micro", {"registers": 2, "pool": "mean"}),
        ("resnet18", {}),
    ],
)
def test_the_spec_builds_the_same_network(name, options):
    encoder = build(name, size=32, **options).eval()
    again = build(**encoder.spec).eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder(images).pooled, again(images).pooled)


def test_resnet_tiny_shape():
    encoder = build("resnet-tiny", size=32, width=16, blocks=(1, 2, 1))
    maps = encoder.layers(torch.rand(2, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 16, 16), (32, 8, 8), (64, 4, 4)]
    assert build("resnet-tiny", size=8)(torch.rand(2, 3, 8, 8)).map.shape == (2, 256, 1, 1)
    assert build("resnet-tiny", size=32)(torch.rand(2, 3, 18, 18)).map.shape == (2, 256, 3, 3)
    with pytest.raises(BadInput, match="1 or more"):
        build("resnet-tiny", size=32, blocks=())


def test_nin_keeps_the_stages_that_rotnet_probes():
    maps = build("nin", size=32).layers(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(96, 32, 32), (192, 16, 16), (192, 8, 8), (192, 8, 8)]


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("resnet18", 64, 4),
        ("convnext_atto", 64, 4),
        ("vit_tiny_patch16_224", 64, 16),
        ("mobilenetv3_small_050", 64, 4),
    ],
)
def test_timm_models_answer_at_every_grain(name, size, tokens):
    encoder = build(name, size=size).eval()
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        result = encoder(images)
        assert torch.equal(result.pooled, encoder.model(encoder.pixels(images)))
    assert result.pooled.shape == (2, encoder.out_dim)
    assert result.tokens.shape[1] == tokens
    assert len(encoder.layers(images, [0, -1])) == 2


def test_timm_transformers_give_attention_keys_registers_and_other_sizes():
    encoder = build("vit_tiny_patch16_224", size=64, registers=2).eval()
    images = torch.rand(2, 3, 64, 64)
    seen = {}
    attn = encoder.model.blocks[-1].attn
    attn.attn_drop.register_forward_pre_hook(lambda m, args: seen.update(attention=args[0]))
    with torch.no_grad():
        extra = encoder(images, need=("attention", "keys", "cls")).extra
        torch.testing.assert_close(extra["attention"], seen["attention"])
        assert extra["keys"].shape == (2, 3, 16 + 3, 64)
        last = encoder.layers(images, [-1])[0]
        torch.testing.assert_close(encoder.model.norm(last), encoder(images).tokens)
        assert encoder(torch.rand(1, 3, 32, 32)).map.shape == (1, 192, 2, 2)
        assert encoder.patches(images).shape == (2, 16, 192)
    assert not attn._forward_pre_hooks  # noqa: SLF001 - torch has no public list of hooks


def test_timm_normalises_as_its_weights_were_trained():
    encoder = build("vit_tiny_patch16_224", size=32)
    cfg = timm.get_pretrained_cfg("vit_tiny_patch16_224")
    assert encoder.mean.flatten().tolist() == pytest.approx(cfg.mean)


def test_names_and_choice():
    known = names()
    assert known[: len(OWN) + 1] == [*LARGE, *OWN] and "resnet18" in known
    assert choose(32) == choose(64) == "resnet-tiny" and choose(224) in known
    assert build(size=32).spec["name"] == "resnet-tiny"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet-tyni", {}, "Unknown encoder 'resnet-tyni'; did you mean 'resnet-tiny'"),
        ("resent18", {}, "did you mean 'resnet18'"),
        ("dinov3_small", {}, "known: .*vit_small_patch16_dinov3"),  # no rdnet_small
        ("zzzqqq", {}, "known: halonet-h1, halonet-tiny, nin, pgt-tiny, resnet-tiny, vit-micro, vit-small32"),
        ("resnet18.a9_in1k", {}, "did you mean 'resnet18.a3_in1k'|did you mean 'resnet18.a[12]_in1k'"),
        ("vit-micro", {"droppath": 0.1}, "Unknown option of vit-micro 'droppath'; did you mean 'drop_path'"),
        ("resnet-tiny", {"registers": 2}, "resnet-tiny cannot take registers"),
        ("resnet18", {"registers": 2}, "resnet18 cannot take registers"),
        ("nin", {"pretrained": True}, "nin has no pretrained weights"),
        ("resnet18", {"foo": 1}, "Unknown option of resnet18 'foo'"),
        ("vit-micro", {"registers": -1}, "0 or more registers; got -1"),
        ("resnet-tiny", {"size": 2}, "4 pixels or more; got 2"),
    ],
)
def test_mistakes_are_answered_in_one_line(name, options, message):
    with pytest.raises(BadInput, match=message) as caught:
        build(name, **{"size": 32, **options})
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_fetched_are_one_clear_line_at_once(monkeypatch):
    calls = []

    def offline(address, timeout):
        calls.append(address)
        raise OSError("Name or service\nnot known")

    monkeypatch.setattr(timm_encoder.socket, "create_connection", offline)
    monkeypatch.setattr(timm_encoder, "getproxies", dict)
    message = r"weights of 'resnet18' cannot be fetched \(Name or service not known\). Check the connection"
    with pytest.raises(BadInput, match=message):
        build("resnet18", size=32, pretrained=True)
    assert len(calls) == 1 and calls[0][1] == 443


def test_weights_in_the_cache_need_no_connection(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("nothing needs to be fetched")

    monkeypatch.setattr(timm_encoder, "try_to_load_from_cache", lambda repository, name: f"/cache/{name}")
    monkeypatch.setattr(timm_encoder.socket, "create_connection", refuse)
    make = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **options: make(name, **options))
    assert build("resnet18", size=32, pretrained=True).out_dim == 512


@pytest.fixture
def fetched(monkeypatch):
    """Models that timm would fetch: as it makes them, with weights that can be known again."""
    make = timm.create_model

    def fetch(name, pretrained=False, **options):
        model = make(name, **options)
        if pretrained:
            torch.nn.init.constant_(next(model.parameters()), 0.25)
        return model

    monkeypatch.setattr(timm_encoder, "_check_reachable", lambda repository: None)
    monkeypatch.setattr(timm, "create_model", fetch)


def test_a_resnet_with_weights_keeps_its_stem_also_for_small_images(fetched):
    encoder = build("timm:resnet18", size=32, pretrained=True)
    assert encoder.model.conv1.kernel_size == (7, 7)
    again = build(**encoder.spec)
    again.load_state_dict(encoder.state_dict())
    assert build("timm:resnet18", size=32).model.conv1.kernel_size == (3, 3)
    with pytest.raises(BadInput, match="The stem of timm:resnet18 is 'full', or left out; got 'wide'"):
        build("timm:resnet18", size=32, stem="wide")


def test_weights_take_the_size_and_preprocessing_that_they_were_trained_with(fetched):
    cfg = timm.get_pretrained_cfg("vit_tiny_patch16_224")
    encoder = build("timm:vit_tiny_patch16_224", pretrained=True)
    assert encoder.size == 224 and encoder.settings["crop"] == cfg.crop_pct < 1
    assert encoder.settings["interpolation"] == cfg.interpolation == "bicubic"
    assert build("timm:vit_tiny_patch16_224", size=32, pretrained=True).size == 32


def test_weights_of_another_architecture_are_one_line(fetched):
    kept = build("timm:vit_tiny_patch16_224", size=32, pretrained=True, drop_path_rate=0.1)
    assert (next(kept.model.parameters()) == 0.25).all()
    for options, key in (
        ({"depth": 14}, "blocks.12"),
        ({"depth": 6}, "blocks.6"),
        ({"embed_dim": 96}, "cls_token"),
    ):
        with pytest.raises(
            BadInput, match=f"are of another architecture \\({key}.* differs\\); leave {[*options][0]}"
        ):
            build("timm:vit_tiny_patch16_224", size=32, pretrained=True, **options)


def test_an_extra_that_is_not_there():
    encoder = build("resnet-tiny", size=32)
    with pytest.raises(BadInput, match="resnet-tiny has no 'attention'"):
        encoder(torch.rand(1, 3, 32, 32), need=("attention",))
    with pytest.raises(BadInput, match="did you mean 'attention'"):
        encoder(torch.rand(1, 3, 32, 32), need=("atention",))


@pytest.mark.parametrize(("size", "side"), [(32, 4), (64, 2)])
def test_an_untrained_resnet_keeps_the_resolution_of_small_images(size, side):
    encoder = build("resnet18", size=size)
    with torch.no_grad():
        result = encoder(torch.rand(2, 3, size, size))
    assert result.map.shape == (2, 512, side, side)


def test_a_class_without_what_it_wraps_is_one_clear_line():
    with pytest.raises(BadInput, match=r"Descriptor cannot be made: .*'encoder'"):
        build("vergence.nets.descriptor:Descriptor", dim=8)


def test_the_median_picture_decides_the_size_and_not_the_first(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "00-icon.png")
    (tmp_path / "01-broken.png").write_bytes(b"this is not a picture")
    for i in range(2, 9):
        Image.new("RGB", (90 + i, 70)).save(tmp_path / f"{i:02}.png")
    source = open_source(tmp_path)
    assert for_source(source).spec["size"] == 64
    assert choice(source) == (
        "views of 64 pixels, as the shorter side of the median image has 70 (20 to 70); --size takes another"
    )
    icons = source.subset([0, 0, 0, 5])
    assert for_source(icons).spec["size"] == 16
    with pytest.raises(BadInput, match="1 of 1 samples of .* cannot be read"):
        for_source(source.subset([1]))
