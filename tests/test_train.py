"""What ``learn`` says of options that it cannot follow."""

import pytest
from torch import nn

import vergence
from vergence.core import BadInput
from vergence.methods.graph import encoders
from vergence.methods.graph.grace import GRACE


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"temperature": 0.5}, "This GRACE is made already: say its temperature where it is made."),
        ({"encoder": "gat"}, "This GRACE is made already: say its encoder where it is made."),
        ({"encoder_options": {"width": 8}}, "This GRACE is made already: say its encoder where it is made."),
    ],
)
def test_what_a_method_is_made_of_is_not_asked_of_learn(asked, said, tmp_path):
    source = vergence.open("karate")
    method = GRACE(encoders.for_source(source, width=8))
    with pytest.raises(BadInput) as error:
        vergence.learn(method, source, out=tmp_path / "run", quiet=True, **asked)
    assert str(error.value) == said


def test_an_unknown_option_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(BadInput, match="Unknown option of grace 'temprature'; did you mean 'temperature'"):
        vergence.learn("grace", "karate", temprature=0.5, out=tmp_path / "run", quiet=True)


class Means(nn.Module):
    """An image encoder of one's own: the three mean colours, weighed."""

    out_dim = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, images):
        return self.layer(getattr(images, "pixels", images).float().mean((2, 3)))


def test_an_image_encoder_of_ones_own_says_its_size_or_learn_does(tmp_path):
    options = {"epochs": 1, "batch_size": 256, "quiet": True}
    with pytest.raises(
        BadInput, match='need a size: give the encoder input_spec = {"size": 224}, or say size='
    ):
        vergence.learn("simclr", "digits", encoder=Means(), out=tmp_path / "none", **options)
    with pytest.raises(BadInput, match="Means does not say which images it takes"):
        vergence.learn("npid", "digits", encoder=Means(), size=8, out=tmp_path / "npid", **options)
    asked = vergence.learn("simclr", "digits", encoder=Means(), size=8, out=tmp_path / "asked", **options)
    net = Means()
    net.input_spec = {"size": 8}
    said = vergence.learn("simclr", "digits", encoder=net, out=tmp_path / "said", **options)
    assert asked.encoder.layer.weight.shape == said.encoder.layer.weight.shape
