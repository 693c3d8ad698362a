"""What ``learn`` says of options that it cannot follow."""

import pytest

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
