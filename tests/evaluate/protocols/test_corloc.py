"""Boxes beside those that look at nothing, and what a cut of tokens boxes."""

import pytest
import torch

from vergence.core import BadInput, Features
from vergence.data.targets import Boxes
from vergence.evaluate.protocols.corloc import beside_fixed_boxes, centre_boxes, cut_boxes


def test_fixed_boxes_are_scored_on_the_same_pictures():
    sizes = torch.tensor([[100, 100], [100, 200], [50, 50]])
    centre = centre_boxes(sizes, 0.5)
    assert centre.tolist() == [[25, 25, 75, 75], [50, 25, 150, 75], [12.5, 12.5, 37.5, 37.5]]
    whole = centre_boxes(sizes, 1.0)
    assert whole.tolist() == [[0, 0, 100, 100], [0, 0, 200, 100], [0, 0, 50, 50]]
    truth = Boxes.of_samples([[[20, 20, 80, 80]], [[0, 0, 200, 90]], [[0, 0, 10, 10], [40, 40, 50, 50]]])
    result = beside_fixed_boxes(
        torch.tensor([[20.0, 20, 80, 80], [0, 0, 10, 10], [41, 41, 50, 50]]), truth, sizes
    )
    assert {name: round(score.value, 3) for name, score in result.items()} == {
        "CorLoc": 0.667,  # the first, and the second thing of the third
        "CorLoc, centre box": 0.667,  # 0.7 of the sides: 3600/4900 and 9800/18200
        "CorLoc, whole picture": 0.333,  # 3600/10000 is too little
    }
    with pytest.raises(ValueError, match=r"a share in \(0, 1\]; got 0"):
        centre_boxes(sizes, 0)


@pytest.mark.parametrize("offset", [4.0, 0.5])
def test_a_cut_boxes_the_thing_and_a_blank_picture_gets_the_whole(offset):
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(2, 8, 8, 8, generator=generator) * 0.3
    cells[:, 0] += 3
    cells[0, :, 2:5, 3:7] = torch.tensor([-3.0, 3, 0, 0, 0, 0, 0, 0])[:, None, None]
    cells[0, :, 2:5, 3:7] += torch.randn(8, 3, 4, generator=generator) * 0.3
    cells[1] = 1.0
    features = Features.of_map(cells.mean((2, 3)), cells, stride=(8, 8), offset=(offset, offset))
    boxes = cut_boxes(features, 64)
    left, top = (offset + (n - 0.5) * 8 for n in (3, 2))
    assert boxes[0].tolist() == [left, top, left + 32, top + 24]
    assert boxes[1].tolist() == [0, 0, 64, 64]
    with pytest.raises(BadInput, match="with stride and offset"):
        cut_boxes(Features.of_map(torch.zeros(2, 8), cells), 64)
