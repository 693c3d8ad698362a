"""Cases of the fuzz follow from their kind, seed and number alone."""

import pytest

from vergence.benchmarks.stress import (
    hostile,
    hostile_graphs,
    hostile_settings,
    hostile_tables,
    hostile_videos,
)
from vergence.benchmarks.stress.fuzz import case
from vergence.benchmarks.stress.kinds import KINDS

DRAWN = [name for name, kind in KINDS.items() if kind.drawn is not None]


@pytest.mark.parametrize("name", DRAWN)
def test_a_case_is_drawn_again_by_its_number(name, tmp_path):
    kind = KINDS[name]
    seeds = kind.seeds(tmp_path)
    first = [case(kind, seeds, 1, number) for number in range(len(seeds) + 60)]
    assert first[: len(seeds)] == seeds
    assert [case(kind, seeds, 1, number) for number in range(len(seeds) + 60)] == first
    assert len(set(first)) > len(seeds) + 20


def test_every_kind_has_another_name():
    modules = (hostile, hostile_graphs, hostile_tables, hostile_settings, hostile_videos)
    assert len(KINDS) == sum(len(module.FILES) for module in modules) + 1 == 54
