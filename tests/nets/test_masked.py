import pytest
import torch
from torch.nn.functional import cross_entropy

from vergence.core import BadInput, Features
from vergence.losses import chamfer
from vergence.nets.masked import CellValues, PointGroups, Predictor, Repainter, TokenFeatures, TokenIds
from vergence.nets.patches import patchify, sincos
from vergence.views.masks import shown_and_hidden, tube_mask


def predictor(grid=(4, 4), out=5):
    torch.manual_seed(0)
    return Predictor(8, grid=grid, out=out, width=12, depth=2, heads=2).eval()


def some_places(rows=3, tokens=16, shown=6):
    places = torch.rand(rows, tokens).argsort(1)
    return places[:, :shown], places[:, shown:]


def test_the_predictor_is_a_transformer_over_tokens_and_mask_tokens_with_their_positions():
    predict = predictor()
    (visible, hidden), prefix = some_places(), torch.randn(3, 1, 8)
    tokens, at = torch.randn(3, 6, 8), sincos(4, 12)[0]
    for b in range(3):
        seen = predict.embed(tokens[b]) + at[visible[b]]
        ask = torch.stack([predict.mask_token + at[place] for place in hidden[b].tolist()])
        x = torch.cat([predict.embed(prefix[b]), seen, ask])[None]
        for block in predict.blocks:
            x = block(x)
        expected = predict.head(predict.norm(x))[0, 7:]
        answer = predict(tokens, visible, hidden, prefix)[b]
        torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


def test_answers_follow_their_places_whatever_the_order():
    predict = predictor()
    visible, hidden = some_places()
    tokens = torch.randn(3, 6, 8)
    answers = predict(tokens, visible, hidden)
    seen, order = torch.randperm(6), torch.randperm(10)
    moved = predict(tokens[:, seen], visible[:, seen], hidden[:, order])
    torch.testing.assert_close(moved, answers[:, order], rtol=1e-4, atol=1e-5)
    wrong = predict(tokens, visible.roll(1, 1), hidden)  # tokens in each other's places say something else
    assert not torch.allclose(wrong, answers, atol=1e-3)


def test_several_questions_do_not_see_each_other():
    predict = predictor()
    visible, hidden = some_places()
    tokens, blocks = torch.randn(3, 6, 8), hidden[:, :8].view(3, 2, 4)
    answers = predict(tokens, visible, blocks)
    assert answers.shape == (3, 2, 4, 5)
    alone = torch.stack([predict(tokens, visible, blocks[:, n]) for n in range(2)], 1)
    torch.testing.assert_close(answers, alone, rtol=1e-4, atol=1e-5)


def test_a_predictor_of_clips_asks_for_the_same_places_of_every_frame():
    visible, hidden = shown_and_hidden(tube_mask(2, (3, 4, 4), 0.75))
    assert predictor((3, 4, 4))(torch.randn(2, 12, 8), visible, hidden).shape == (2, 36, 5)


def test_a_predictor_needs_heads_that_divide():
    with pytest.raises(BadInput, match="got 12 and 5 heads"):
        Predictor(8, grid=(4, 4), out=5, width=12, depth=1, heads=5)


def test_cell_values_are_the_patches_and_normalised_ones_forget_colour_and_contrast():
    pixels, places = torch.randn(2, 3, 8, 8), torch.tensor([[3, 0], [1, 2]])
    plain, own = CellValues((4, 4)), CellValues((4, 4), normalise=True)
    assert plain.width == own.width == 48
    cells = plain.at(pixels, places)
    assert torch.equal(cells[0, 0], patchify(pixels, (4, 4))[0, 3])
    expected = (cells - cells.mean(2, keepdim=True)) / (cells.var(2, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(own.at(pixels, places), expected)
    torch.testing.assert_close(own.at(5 * pixels + 2, places), expected, rtol=1e-4, atol=1e-5)
    assert plain.cost(cells + 2, cells).item() == pytest.approx(4)


def test_token_features_have_no_scale_and_no_gradient():
    weight = torch.randn(4, 6, requires_grad=True)
    target = TokenFeatures(lambda x: Features(x[:, 0], x @ weight), 6)
    values, places = torch.randn(2, 5, 4), torch.tensor([[[0, 1], [1, 4]], [[2, 2], [3, 0]]])
    targets = target.at(values, places)
    assert targets.shape == (2, 2, 2, 6) and not targets.requires_grad
    torch.testing.assert_close(targets.mean(-1), torch.zeros(2, 2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets.var(-1, correction=0), torch.ones(2, 2, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(targets[0, 1, 1], target.at(3 * values, places)[0, 1, 1], atol=1e-4, rtol=1e-4)
    assert target.cost(targets + 0.5, targets).item() == pytest.approx(0.125)  # half the square, below 1
    assert target.cost(targets + 3, targets).item() == pytest.approx(2.5)  # and straight above


def test_token_ids_are_classes():
    ids = torch.tensor([[4, 2, 0], [1, 1, 3]])
    target = TokenIds(lambda values: ids, 5)
    places = torch.tensor([[2, 0], [1, 2]])
    targets = target.at(None, places)
    assert targets.tolist() == [[0, 4], [1, 3]]
    answers = torch.randn(2, 2, 5)
    assert target.cost(answers, targets).item() == pytest.approx(
        cross_entropy(answers.view(4, 5), targets.view(4)).item()
    )


def test_point_groups_are_sets():
    groups, places = torch.randn(2, 4, 6, 3), torch.tensor([[1, 3], [0, 2]])
    target = PointGroups(6)
    targets = target.at(groups, places)
    assert torch.equal(targets[1, 1], groups[1, 2])
    shuffled = targets[:, :, torch.randperm(6)].flatten(2)
    assert target.cost(shuffled, targets).item() == pytest.approx(0, abs=1e-6)
    answers = torch.randn(2, 2, 18)
    expected = chamfer(answers.view(4, 6, 3), targets.flatten(0, 1))
    torch.testing.assert_close(target.cost(answers, targets), expected)


def test_a_repainter_paints_each_token_in_its_own_patch():
    paint = Repainter(8, 4)
    tokens = torch.randn(1, 9, 8, requires_grad=True)
    picture = paint(tokens)
    assert picture.shape == (1, 3, 12, 12)
    (gradient,) = torch.autograd.grad(picture[0, :, 5, 9].sum(), tokens)
    assert gradient.abs().sum(2)[0].nonzero().flatten().tolist() == [5]  # row 1, column 2
