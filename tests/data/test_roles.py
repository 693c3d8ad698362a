import numpy as np
import pyarrow as pa
import pytest

from vergence.data.roles import reading_of, role

N = 100
DIFFERENT = np.random.default_rng(0).permutation(10_000)[:N]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("__index_level_0__", DIFFERENT, "an index"),
        ("", np.arange(N), "an index"),
        ("Unnamed: 0", np.arange(N), "an index"),
        ("index", np.arange(N), "an index"),
        ("", np.linspace(0, 1, N), "numeric"),
        ("index", np.arange(N) % 7, "numeric"),  # a price index, say
        ("customerID", DIFFERENT, "an id"),
        ("order_id", DIFFERENT.astype(float), "an id"),
        ("zip", 10_000 + np.arange(N), "an id"),
        ("zip code", 10_000 + np.arange(N) % 5, "categorical"),
        ("shop_id", np.arange(N) % 5, "categorical"),
        ("id", np.linspace(0, 1, N), "numeric"),
        ("paid", np.arange(N), "numeric"),
        ("valid", np.arange(N), "numeric"),
        ("count", np.arange(N), "numeric"),
        ("rate", [f"{i}%" for i in range(N)], "numeric"),
        ("zip", [f"0{i}" for i in range(N)], "every row differs"),
        ("plate", [f"K-{i % 30}" for i in range(N)], "categorical"),
        ("plate", [f"K-{i}" for i in range(N)], "every row differs"),
        ("flag", [True, False] * (N // 2), "categorical"),
        ("none", pa.nulls(N), "empty"),
        ("born", pa.array([0] * N, pa.timestamp("s")), "a time"),
        ("list", [[1]] * N, "of type list<item: int64>"),
    ],
)
def test_the_role_of_a_column_goes_by_its_name_type_and_values(name, values, expected):
    assert role(name, pa.chunked_array([pa.array(values)])) == expected


def test_few_rows_may_all_differ_by_chance():
    assert role("town", pa.chunked_array([["Rome", "Oslo"]])) == "categorical"


def test_a_long_reading_names_some_columns_and_the_count():
    names = {f"c{i}": "" for i in range(200)}
    assert reading_of(names, {}, {}, {"a, b": "empty"}).endswith(
        "c11, … (200 in all); left out 'a, b' (empty)"
    )
