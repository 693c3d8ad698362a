import pytest
import torch

from vergence.core import Features
from vergence.evaluate.protocols.pck import pck, transferred


def test_pck_equals_the_share_counted_by_hand():
    torch.manual_seed(0)
    truth, visible = torch.rand(20, 5, 2) * 50, torch.randint(0, 3, (20, 5))
    guess, reach = truth + torch.randn(20, 5, 2) * 4, torch.rand(20) * 8
    right = total = 0
    for i in range(20):
        for k in range(5):
            if visible[i, k] > 0:
                total += 1
                right += float(((guess[i, k] - truth[i, k]) ** 2).sum() ** 0.5) <= reach[i]
    score = pck(guess, truth, visible, reach)
    assert score.value == pytest.approx(right / total) and score.low < score.value < score.high
    assert pck(truth, truth, visible, reach * 0).value == 1
    with pytest.raises(ValueError, match="whole of more than 0"):
        pck(guess, truth, visible * 0, reach)


@pytest.mark.parametrize("offset", [2.0, 0.5])
def test_a_point_is_found_again_where_the_same_vector_lies(offset):
    torch.manual_seed(1)
    first = torch.randn(3, 16, 8, 8)
    second = first.roll((2, -3), (2, 3))
    place = {"stride": (4, 4), "offset": (offset, offset)}
    pair = [Features.of_map(cells.mean((2, 3)), cells, **place) for cells in (first, second)]
    cells = torch.tensor([[3, 1], [4, 5], [7, 2]])  # (x, y)
    mapped = transferred(pair[0], (cells * 4.0 + offset).expand(3, 3, 2), pair[1])
    expected = torch.stack([(cells[:, 0] - 3) % 8, (cells[:, 1] + 2) % 8], 1) * 4.0 + offset
    assert torch.equal(mapped, expected.expand(3, 3, 2))
