from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vergence.data.batch import Batch
from vergence.data.targets import Values


@dataclass(frozen=True, slots=True)
class Sounds(Batch):
    waves: Tensor
    index: Tensor
    rate: int
    sizes: Tensor | None = None
    targets: dict[str, Values] | None = None


def test_tensors_and_targets_move_and_the_rest_stays():
    sounds = Sounds(torch.zeros(2, 5), torch.arange(2), 44_100, None, {"pitch": Values(torch.ones(2))})
    moved = sounds.to("meta")
    assert type(moved) is Sounds and len(moved) == 2
    assert {part.device.type for part in (moved.waves, moved.index, moved.targets["pitch"].values)} == {
        "meta"
    }
    assert (moved.rate, moved.sizes) == (44_100, None)
    assert sounds.waves.device.type == "cpu"


def test_a_batch_has_no_room_for_what_it_does_not_name():
    with pytest.raises((AttributeError, TypeError)):
        Sounds(torch.zeros(1, 1), torch.zeros(1), 1).extra = 1
