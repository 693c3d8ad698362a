"""The page of what has been shown: its totals, its marks, and a reason wherever something falls short."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from vergence import catalog
from vergence.benchmarks.published import published, with_real_data

pytest.importorskip("mkdocs")
HOOK = Path(__file__).resolve().parents[1] / "docs" / "hooks" / "shown.py"


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("shown", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def margin(mean, low):
    return {"mean": mean, "low": low, "high": 2 * mean - low}


def comparison(low, **more):
    arms = {"paper": {"mean": 0.5, "std": 0.01}, "off": {"mean": 0.4, "std": 0.01}}
    margins = {"off": margin(0.1, low), "untrained": margin(0.2, 0.1)}
    return {"less_is_better": False, "arms": arms, "margins": margins, **more}


def real(low, **more):
    untrained = {"mean": 0.3, "std": 0.0}
    return comparison(low, source="cifar10", metric="accuracy", untrained=untrained, note="So it is.", **more)


def world(low):
    return comparison(low, world="A [small] world.", metric="accuracy", clear=low > 0, rivals=["off"])


def row(low):
    """Of the image table: the paper beside the untrained encoder alone."""
    own = {
        **real(0.1),
        "shared": "image table",
        "seeds": [0, 1, 2],
        "note": "" if low > 0 else "It falls behind.",
    }
    return {**own, "arms": {"paper": own["arms"]["paper"]}, "margins": {"untrained": margin(0.2, low)}}


PARITY = {"kind": "official", "against": "them", "commit": "", "max_abs": 2e-6, "max_rel": 3e-7}
CLEAR = {**real(0.05), "mechanism": world(0.05), "parity": PARITY}
SHORT = {**real(-0.05), "mechanism": world(-0.05), "parity": {**PARITY, "max_rel": 2e-3}}


def test_what_is_clear_needs_no_reason(hook):
    assert list(hook.reasons("simclr", CLEAR)) == []
    row = hook.table([catalog.find("simclr")], {"simclr": CLEAR}).splitlines()[-1]
    assert row.count(hook.YES) == 3 and hook.NO not in row
    assert "cifar10 50.0 (off 40.0, untrained 30.0)" in row and "+10.0 [5.0, 15.0]" in row


def test_what_falls_short_is_marked_and_says_why(hook):
    row = hook.table([catalog.find("simclr")], {"simclr": SHORT}).splitlines()[-1]
    assert row.count(hook.NO) == 3 and hook.YES not in row
    assert list(hook.reasons("simclr", SHORT)) == [
        "`simclr`, mechanism: not clear of 'off'. A \\[small\\] world.",
        "`simclr`, cifar10: So it is.",
    ]


def test_what_is_not_there_yet_is_named(hook):
    papers = [catalog.find(key) for key in ("simclr", "byol", "vicreg")]
    results = {"simclr": CLEAR, "byol": {"parity": PARITY}}
    assert list(hook.missing(papers, results)) == [
        "No parity yet: `vicreg`.",
        "No mechanism yet: `byol`, `vicreg`.",
        "No real data yet: `byol`, `vicreg`.",
    ]


def test_generated_data_are_not_real_ones(hook):
    generated = {**real(0.05, also=[real(0.05), real(-0.1)]), "source": "generated"}
    assert [hook.ahead(one) for one in with_real_data(generated)] == [True, False]


def test_a_row_of_the_image_table_is_marked_and_judged_by_the_untrained_encoder(hook):
    paper = catalog.find("vicreg")
    for low, mark, why in ((0.1, hook.YES, []), (-0.1, hook.NO, ["`vicreg`, cifar10: It falls behind."])):
        shown = {"also": [row(low)]}
        line = hook.table([paper], {"vicreg": shown}).splitlines()[-1]
        assert f"{mark} cifar10 50.0 ± 1.0 (untrained 30.0), image table |" in line
        assert list(hook.reasons("vicreg", shown)) == why


def test_a_row_of_one_seed_is_said_to_be_one_and_clear_of_nothing(hook):
    shown = {"also": [{**row(0.1), "seeds": [0], "note": "One seed."}]}
    line = hook.table([catalog.find("pirl")], {"pirl": shown}).splitlines()[-1]
    assert f"{hook.NO} cifar10 50.0, one seed (untrained 30.0), image table |" in line
    assert list(hook.reasons("pirl", shown)) == ["`pirl`, cifar10: One seed."]


def test_totals_count_what_can_be_run(hook):
    runs = [catalog.find(key) for key in ("simclr", "byol", "vicreg")]
    results = {"simclr": CLEAR, "byol": SHORT, "vicreg": {"also": [row(0.1)]}, "grace": CLEAR}
    lines = hook.totals(runs, results).splitlines()[2:]
    assert [line.strip("| ").split(" | ") for line in lines] == [
        ["can be run", "3"],
        ["parity", "2", "1 within 1e-05"],
        ["mechanism", "2", "1 clear of every rival"],
        ["real data, a run of its own", "2", "1 clear of every rival; 2 of 2 clear of the untrained encoder"],
        ["real data, a row in the image table", "1", "1 clear of the untrained encoder"],
    ]


def test_every_published_result_has_its_row(hook):
    results = {paper.key: actual for paper in catalog.PAPERS if (actual := published(paper.key))}
    text = hook.page(catalog.FAMILIES, results)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(bool(paper.code) for paper in catalog.PAPERS)
    assert all(row.count(" | ") == 3 for row in rows)
