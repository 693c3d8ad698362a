import pytest
import torch

from vectors import Denoise, VectorEncoder, Vectors


@pytest.fixture
def vectors():
    return Vectors()


@pytest.fixture
def denoise():
    torch.manual_seed(0)
    return Denoise(VectorEncoder())
