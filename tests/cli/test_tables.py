"""The flags of a table become part of its uri."""

import pytest

from vergence.cli.source_flags import source_of
from vergence.core import BadInput


@pytest.mark.parametrize(
    ("said", "source", "known", "uri"),
    [
        ({"label": "sick"}, "table:a.csv", "", "table:a.csv?label=sick"),
        ({"categorical": "a,b"}, "table:a.csv?label=y", "", "table:a.csv?label=y&categorical=a,b"),
        ({}, "b.csv", "table:a.csv?label=y&group=g:a,b", "table:b.csv?label=y&group=g:a,b"),
        ({}, "sklearn:wine", "table:a.csv?label=y", "sklearn:wine"),
        ({"label": "z"}, "b.csv", "table:a.csv?label=y", "table:b.csv?label=z"),
    ],
)
def test_flags_become_parts_of_the_uri(said, source, known, uri):
    assert source_of(said, source, known) == uri


def test_flags_of_event_logs_are_refused():
    with pytest.raises(BadInput, match="--time"):
        source_of({"time": "ts"}, "table:a.csv")
