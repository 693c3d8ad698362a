"""Two collections are compared in one call."""

import numpy as np
import pytest

import vergence
from vergence.core import BadInput


@pytest.fixture(scope="module")
def encoder():
    return vergence.encoder("resnet-tiny", size=16, width=4).eval()


def shades(low, high, count=12):
    drawn = np.random.default_rng(low).integers(low, high, (count, 16, 16, 3), np.uint8)
    return vergence.open(drawn)


def test_what_collections_share_and_what_not_is_counted(encoder):
    dark, light = shades(0, 80), shades(170, 256)
    shown = vergence.compare(encoder, dark, light, prototypes=4, epochs=1, quiet=True)
    assert shown.counts.shape == (2, 4) and shown.sources == (dark, light)
    assert shown.counts.sum(1).tolist() == [part.size for part in shown.assigned]
    for prototype in shown.of(0, least=1):
        assert set(shown.examples(0, prototype)) <= set(range(12))
    again = vergence.compare(encoder, dark, light, prototypes=4, epochs=1, quiet=True)
    np.testing.assert_array_equal(again.counts, shown.counts)


def test_collections_of_other_things_are_one_line(encoder):
    with pytest.raises(BadInput, match="holds no images"):
        vergence.compare(encoder, shades(0, 80), "karate", quiet=True)
