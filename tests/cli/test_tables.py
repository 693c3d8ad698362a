"""The flags of a table become part of its uri."""

import pytest

import vergence
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
        ({"features": "n.csv"}, "a.csv", "", "edges:a.csv?features=n.csv"),
        ({"labels": "l.csv"}, "a.edgelist", "", "edges:a.edgelist?labels=l.csv"),
        ({"columns": "source,target,-"}, "edges:a.csv", "", "edges:a.csv?columns=source,target,-"),
    ],
)
def test_flags_become_parts_of_the_uri(said, source, known, uri):
    assert source_of(said, source, known) == uri


def test_flags_of_event_logs_are_refused():
    with pytest.raises(BadInput, match="--time"):
        source_of({"time": "ts"}, "table:a.csv")


def test_learning_prints_once_what_each_column_was_read_as(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("id;rate;size\n" + "".join(f"{i};{i % 7}%;{i / 3:.2f}\n" for i in range(60)))
    vergence.learn("inffs", f"table:{path}", out=tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    reading = f"table:{path}: numeric rate (0% is 0), size; left out id (an id)."
    assert said.count(reading) == 1
