import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cosine_similarity, normalize

from vergence.core import BadInput
from vergence.methods.image.encoders import build
from vergence.methods.image.registers import neighbour_cosine, outlier_cut, report


def vit(**options):
    torch.manual_seed(options.pop("seed", 0))
    return build("vit-micro", size=32, **options)


def planted(encoder, low, vector):
    """Make the third block write ``vector`` into the tokens that ``low (B, N)`` names."""

    def write(block, inputs, output):
        output = output.clone()
        output[:, encoder.num_prefix :][low] += vector
        return output

    return encoder.blocks[2].register_forward_hook(write)


@pytest.fixture
def images():
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for i in range(4):  # a flat area of 3 x 3 patches, elsewhere in every image
        pixels[i, :, 4 * i : 4 * i + 12, 8:20] = 0.5
    return pixels


def flat_patches(pixels):
    cells = pixels.unfold(2, 4, 4).unfold(3, 4, 4)  # (B, 3, 8, 8, 4, 4)
    return cells.flatten(4).std(-1).mean(1).flatten(1) < 1e-6


@pytest.mark.parametrize("registers", [0, 4])
def test_the_detector_finds_exactly_the_planted_tokens(images, registers):
    encoder = vit(registers=registers)
    low = flat_patches(images)
    assert low.sum() == 4 * 9
    planted(encoder, low, 500 * torch.eye(96)[5])

    result = report(encoder, images)

    assert torch.equal(result.outliers, low)
    assert result.first_layer == 2
    assert result.share == pytest.approx(9 / 64)
    assert result.norms.shape == (4, 4, 64)
    assert result.norms[1].max() < result.cut < result.norms[2][low].min()
    assert result.likeness[low].mean() > result.likeness[~low].mean() + 0.2
    assert "14.1% artifact tokens" in str(result)


def test_an_untouched_small_transformer_has_no_artifacts(images):
    result = report(vit(), images)
    assert not result.outliers.any()
    assert result.first_layer is None
    assert str(result).startswith("no artifact tokens")


def test_a_given_cut_is_used_as_it_is(images):
    result = report(vit(), images)
    middle = result.norms[-1].median().item()
    again = report(vit(), images, cut=middle)
    assert torch.equal(again.outliers, again.norms[-1] > middle)
    assert again.outliers.float().mean() == pytest.approx(0.5, abs=0.02)


def test_norms_are_those_of_the_tokens_before_the_final_norm(images):
    encoder = vit().eval()
    x, _, _ = encoder.start(images)
    for block in encoder.blocks:
        x = block(x)
    torch.testing.assert_close(report(encoder, images).norms[-1], x[:, 1:].norm(dim=-1))


def test_report_leaves_the_encoder_as_it_was(images):
    encoder = vit(drop_path=0.3).train()
    assert torch.equal(report(encoder, images).norms, report(encoder, images).norms)
    assert encoder.training


def test_neighbour_cosine_equals_a_loop():
    patches = torch.randn(2, 6, 5)
    result = neighbour_cosine(patches, 2, 3)
    for b in range(2):
        for r in range(2):
            for c in range(3):
                around = [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
                cosines = [
                    cosine_similarity(patches[b, 3 * r + c], patches[b, 3 * i + j], dim=0)
                    for i, j in around
                    if 0 <= i < 2 and 0 <= j < 3
                ]
                assert result[b, 3 * r + c].item() == pytest.approx(
                    torch.stack(cosines).mean().item(), abs=1e-6
                )


def test_the_cut_ignores_outliers_below_half_of_the_tokens():
    norms = 10 + torch.randn(100, generator=torch.Generator().manual_seed(0))
    cut = outlier_cut(norms)
    norms[:20] = 1000
    assert outlier_cut(norms) == pytest.approx(cut, rel=0.2)
    assert 20 <= cut < 30


def test_without_registers_the_network_is_the_plain_one_bit_for_bit(images):
    plain, none, four = vit(), vit(registers=0), vit(registers=4)
    assert torch.equal(plain(images).pooled, none(images).pooled)
    shared = plain.state_dict()
    assert shared.keys() == none.state_dict().keys()
    assert four.state_dict().keys() - shared.keys() == {"registers"}
    for name, weight in shared.items():
        assert torch.equal(weight, four.state_dict()[name])


def knn(encoder, train, train_labels, test, test_labels):
    with torch.no_grad():
        bank, queries = (normalize(encoder.eval()(x).pooled, dim=1) for x in (train, test))
    votes = train_labels[(queries @ bank.T).topk(5).indices]
    return (votes.mode(1).values == test_labels).float().mean().item()


def test_four_registers_move_knn_less_than_another_seed_does():
    digits = load_digits()
    pixels = torch.tensor(digits.images[:300] / 16, dtype=torch.float32)[:, None]
    pixels = pixels.repeat_interleave(4, 2).repeat_interleave(4, 3).expand(-1, 3, -1, -1)
    labels = torch.tensor(digits.target[:300])
    data = pixels[:150], labels[:150], pixels[150:], labels[150:]
    without = [knn(vit(seed=s), *data) for s in range(3)]
    moved = [abs(knn(vit(seed=s, registers=4), *data) - without[s]) for s in range(3)]
    assert sum(moved) / 3 < max(without) - min(without)


def test_a_convolutional_network_is_told_apart(images):
    with pytest.raises(BadInput, match="need a vision transformer; got resnet-tiny"):
        report(build("resnet-tiny", size=32), images)
