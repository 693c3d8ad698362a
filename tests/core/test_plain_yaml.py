"""Settings are read as plain YAML; what grows beyond its text is refused before it grows."""

import time

import pytest

from vergence.core import BadInput
from vergence.core.kinds import fits
from vergence.core.plain_yaml import LARGEST, parse


def test_settings_are_read():
    text = "epochs: 3\nlr: 1.5e-3\nviews: {flip: 0.5, date: 2026-11-21}\nlist: [1, x, null]\nsecond: 1:30\n"
    read = parse(text, "here")
    assert read["epochs"] == 3 and read["lr"] == 1.5e-3 and read["list"] == [1, "x", None]
    assert read["views"]["flip"] == 0.5 and read["second"] == 90


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 25))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, r"line 2 has an alias \(\*name\): write the value out there"),
        (MERGED, "line 2 has an alias"),
        ("a: &a [*a]", "line 1 has an alias"),
        ("a: " + "1:" * 200_000 + "1", "line 1 has a number of more than 64 digits"),
        ("a: 0x" + "f" * 10_000, "a number of more than 64 digits"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("[" * 50_000, "."),
        ("a: 2026-99-99", "month must be"),
        ("? [a]\n: b", "unhashable"),
        ("a: \x01", "special characters"),
        ("x" * (LARGEST + 1), "larger than"),
    ],
)
def test_what_would_grow_is_one_line_at_once(text, said):
    began = time.monotonic()
    with pytest.raises(BadInput, match=said) as error:
        parse(text, "a.yaml")
    assert str(error.value).startswith("a.yaml is no") and "\n" not in str(error.value)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("value", "kind", "is_one"),
    [
        (3, int, True), (3.0, int, False), (True, int, False), (3, float, True), ("3", float, False),
        (None, int | None, True), ("x", int | None, False), ([1, 2], tuple[int, ...], True),
        ([1, "x"], tuple[int, ...], False), ([1], tuple[int, int], False), (5, tuple[int, ...], False),
        ({"a": 1}, dict[str, int], True), ({1: 1}, dict[str, int], False),
        ({"a": "b"}, dict[str, int], False),
        ({"a": [{}]}, dict[str, object], True), (["a"], list[str], True), ([1], list[str], False),
    ],
)  # fmt: skip
def test_a_value_is_of_a_kind_or_not(value, kind, is_one):
    assert fits(value, kind) is is_one
