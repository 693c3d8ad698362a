"""SQL conditions: understood to their end, as SQL does, or refused in one line."""

import numpy as np
import pytest

from vergence.core.errors import BadInput
from vergence.store.table import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store.create(
        tmp_path_factory.mktemp("store") / "s.lance",
        None,
        np.eye(4, dtype=np.float32),
        ids=["a", "it's", "c;d", "x\ny"],
        metadata={
            "Group": ["A", "b", "A", "b"],
            "Subject ID": [1, 2, 3, 4],
            "n": [1, 2, 3, None],
            "size": [{"w": 8}, {"w": 9}, {"w": 10}, {"w": 11}],
            "tags": [["u", "v"], ["u"], [], ["v"]],
            "day": np.array(["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"], "datetime64[D]"),
        },
    )


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("\"Group\" = 'A'", [0, 2]),
        ("\"Group\" <> 'A'", [1, 3]),
        ("group = 'A'", [0, 2]),
        ('"Subject ID" = 2', [1]),
        ("`Subject ID` BETWEEN 2 AND 3", [1, 2]),
        ("size.w >= 10", [2, 3]),
        ("id = 'it''s'", [1]),
        ("id = 'c;d'", [2]),
        ("id = 'x\ny'", [3]),
        ("id LIKE '%;%' OR id in ('a', 'b')", [0, 2]),
        ("n = 1 OR n = 2 AND id = 'a'", [0]),
        ("NOT n = 1", [1, 2]),
        ("n IS NULL", [3]),
        ("n IS NOT NULL AND n NOT IN (1, 3)", [1]),
        ("n IS DISTINCT FROM 1", [1, 2, 3]),
        ("n - 1 - 1 = 1 AND n % 2 = 1 AND -n < -2.5e0", [2]),
        ("lower(\"Group\") = 'b' AND coalesce(n, 0) = 0", [3]),
        ("array_has(tags, 'v') AND tags[1] = 'u'", [0]),
        ("CAST(n AS string) = '2'", [1]),
        ("day > DATE '2024-02-15'", [2, 3]),
        ("TRUE", [0, 1, 2, 3]),
        (" or ".join(f"n = {i}" for i in range(2, 5_000)), [1, 2]),
    ],
)
def test_a_condition_chooses_the_rows_that_sql_does(store, condition, rows):
    assert store.where(condition).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        ("n = 1; DROP TABLE x", "not understood from ';' on, character 6"),
        ("n = 1 n = 2", "from 'n' on, character 7"),
        ("n = 1)", r"from '\)' on"),
        ("n = 1 GROUP BY n", "from 'GROUP' on"),
        ("n = 1 LIMIT 1", "from 'LIMIT' on"),
        ("n = 1 -- all", "from '--' on"),
        ("n = 1 /* all */", "from '/' on|from '\\*' on"),
        ("n = 1 AND", "ends too soon"),
        ("", "ends too soon"),
        ("(n = 1", "ends too soon"),
        ("id = 'a", 'from "\'a" on'),
        ("id IN ()", r"from '\)' on"),
        ("n = $1", r"from '\$1' on"),
        ("n = 1 = TRUE", "from '=' on"),
        ("n IN (SELECT 1)", "Unknown column 'SELECT'"),
        ("_rowid = 1", "Unknown column '_rowid'"),
        ('id = "a"', r'no column "a" .*a text stands in single quotes: \'a\''),
        ("\"group\" = 'A'", 'no column "group"'),
        ("size.h = 1", "Unknown column 'h'; known: w"),
        ("id.h = 1", "from 'h' on"),
        ("(" * 60 + "n = 1" + ")" * 60, "at most 50 parentheses"),
        ("n", "cannot answer"),
        ("nothing(n) = 1", "cannot answer"),
        ("n = '1'", "cannot answer"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(store, condition, line):
    for ask in (
        store.where,
        lambda where: store.read(["id"], where=where),
        lambda where: store.delete(where=where),
    ):
        with pytest.raises(BadInput, match=line) as error:
            ask(condition)
        assert "\n" not in str(error.value)
    assert len(Store.open(store.path)) == 4


def test_a_delete_takes_the_rows_of_its_condition_and_no_others(tmp_path):
    store = Store.create(
        tmp_path / "s.lance",
        None,
        np.eye(12, dtype=np.float32),
        ids=list("abcdefghijkl"),
        metadata={"Group": ["A", "b"] * 6},
    )
    assert store.delete(where="\"Group\" <> 'A'") == 6
    assert store.names == list("acegik")
