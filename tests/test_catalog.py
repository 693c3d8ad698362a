from __future__ import annotations

import importlib
import importlib.util
import re
from collections import Counter
from pathlib import Path

import pytest

from vergence import catalog
from vergence.catalog import FAMILIES, PAPERS, find, papers
from vergence.core.errors import BadInput

PRESENT = [paper for paper in PAPERS if paper.code]
CARDS = Path(__file__).resolve().parents[2] / "shared" / "papers"


def test_all_203_papers_have_one_row_each():
    numbers = sorted(paper.number for paper in PAPERS if paper.number is not None)
    assert numbers == list(range(1, 204))
    assert {paper.key for paper in PAPERS if paper.number is None} == {
        *(
            "simclr",
            "barlow",
            "vicreg",
            "byol",
            "mocov2",
            "simsiam",
            "nnclr",
            "lejepa",
            "mae",
            "ijepa",
            "swav",
            "dino",
            "distill",
            "supervised",
        )
    }


def test_no_key_and_no_arxiv_id_stands_twice():
    keys = Counter(paper.key for paper in PAPERS)
    ids = Counter(paper.arxiv for paper in PAPERS if paper.arxiv)
    assert max(keys.values()) == 1
    assert [i for i, n in ids.items() if n > 1] == []


def test_an_arxiv_id_is_well_formed_and_not_younger_than_its_publication():
    for paper in PAPERS:
        if paper.arxiv and paper.key != "deeplds":  # published in 2020, on arXiv since 2022
            assert re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv), paper
            assert 2000 + int(paper.arxiv[:2]) <= paper.year + 1, paper
    assert {paper.key for paper in PAPERS if paper.number and not paper.arxiv} == {
        *("sc3k", "clip-art", "fgvc", "alice", "jointssl", "mrm")
    }


@pytest.mark.skipif(not CARDS.is_dir(), reason="the cards are not beside this checkout")
def test_rows_say_what_the_cards_say():
    text = "\n".join(path.read_text() for path in CARDS.glob("*.md"))
    cards = re.findall(r"^### `([^`]+)` — (.*?)\s+\(#(\d+)\)\s*$", text, flags=re.MULTILINE)
    rows = {(paper.key, paper.title, str(paper.number)) for paper in PAPERS if paper.number}
    assert rows == set(cards)


@pytest.mark.parametrize("paper", PRESENT, ids=lambda paper: paper.key)
def test_the_code_is_where_the_row_says_and_names_its_paper(paper):
    module, _, name = paper.code.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"{module} does not exist"
    assert module.rpartition(".")[2] == paper.key.replace("-", "_")
    text = " ".join(Path(spec.origin).read_text().split())
    head = text.partition('"""')[2].partition('"""')[0]
    assert paper.title.lower() in head.lower()
    assert paper.arxiv is None or paper.arxiv in head
    assert re.search(rf"(class|def) {name}\b", text), f"{module} has no {name}"


def test_status_follows_code_and_number():
    assert find("simclr").status == find("rotnet").status == "available"
    assert find("autoclip").status == "planned"


def test_find_takes_either_spelling_and_names_the_nearest_key():
    assert find("clip_art") is find("clip-art")
    with pytest.raises(BadInput, match="did you mean 'simclr'"):
        find("simcrl")
    with pytest.raises(BadInput, match="list them with: vergence papers"):
        find("qqqqqq")


def test_a_family_is_a_file_and_every_file_of_rows_is_listed():
    files = {path.stem for path in Path(catalog.__file__).parent.glob("*.py")} - {"__init__", "paper"}
    assert files == {family.replace("-", "_") for family in FAMILIES}
    assert {module.PAPERS for module in map(_rows, files)} == set(FAMILIES.values())


def _rows(file):
    return importlib.import_module(f"vergence.catalog.{file}")


@pytest.mark.parametrize("by", ["family", "modality", "task"])
def test_papers_of_a_group_are_all_of_it_and_nothing_else(by):
    groups = FAMILIES if by == "family" else {getattr(paper, by) for paper in PAPERS}
    listed = [paper for group in groups for paper in papers(**{by: group})]
    assert sorted(paper.key for paper in listed) == sorted(paper.key for paper in papers())
    assert {paper.modality for paper in papers(modality="graph")} == {"graph"}
    with pytest.raises(BadInput, match=f"Unknown {by} 'grpahs'"):
        papers(**{by: "grpahs"})


def test_filters_of_papers_narrow_each_other():
    assert [paper.key for paper in papers("text", modality="text", task="clustering")] == ["cpp"]
    assert papers("volume", modality="image") == []
    with pytest.raises(BadInput, match="did you mean 'graph'"):
        papers("grpah")


@pytest.mark.parametrize("paper", PRESENT, ids=lambda paper: paper.key)
def test_code_of_a_modality_lives_in_its_folder(paper):
    folder = paper.code.partition(":")[0].split(".")[1:3]
    if folder[0] == "methods":
        assert folder[1] in ({"pairs"} if paper.modality == "any" else {paper.modality, paper.task})
    else:
        assert folder[0] in ("use", "evaluate")
