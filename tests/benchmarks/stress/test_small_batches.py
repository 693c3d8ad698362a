import math

import pytest

from vergence.benchmarks.stress.small_batches import BATCHES, METHODS, arms


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", BATCHES)
def test_the_arms_are_the_papers_rule_its_square_root_and_adamw(method, batch):
    settings = arms(method, batch)
    assert settings.pop("LARS, linear rule") == {"optimizer": "lars"}
    root = settings.pop("LARS, square-root rule")
    of_the_paper = {"simclr": (4.8, 4096), "vicreg": (1.6, 2048), "barlow": (1.6, 2048), "byol": (3.2, 4096)}
    rate, large = of_the_paper[method]
    assert root["lr"] == pytest.approx(rate * math.sqrt(batch / large))
    assert [arm["lr"] for arm in settings.values()] == [1e-3, 2e-3, 4e-3]
    assert {arm["optimizer"] for arm in settings.values()} == {"adamw"}
