"""The commands one after the other, as a person would use them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits

from vergence.cli import main
from vergence.nets import timm_encoder
from vergence.reports import looks
from vergence.store.table import Store
from vergence.studio.review import Review

COUNT = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Scans of three digits in folders, a one-epoch run on them, and their embeddings."""
    folder = tmp_path_factory.mktemp("flow")
    scans = load_digits(n_class=3)
    for i, (pixels, label) in enumerate(zip(scans.images[:COUNT], scans.target, strict=False)):
        (folder / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / "photos" / str(label) / f"{i}.png")
    learn = f"learn simclr {folder}/photos --size 16 --epochs 1 --out {folder}/run --quiet"
    assert main(learn.split()) == 0
    assert main(["embed", f"{folder}/run", f"{folder}/photos", "--out", f"{folder}/photos.lance"]) == 0
    return folder


def _json(capsys, words: str) -> dict:
    capsys.readouterr()
    assert main([*words.split(), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_search_gives_others_best_first_by_row_and_by_id(made, capsys):
    by_row = _json(capsys, f"search {made}/photos.lance 7 --k 3")["hits"]
    first = _json(capsys, f"search {made}/photos.lance 0/0.png --k 3")["hits"]
    zero = _json(capsys, f"search {made}/photos.lance 0 --k 3")["hits"]
    assert first == zero != by_row  # 0/0.png is row 0
    assert len(first) == 3
    assert "0/0.png" not in [hit["id"] for hit in first]
    assert [hit["score"] for hit in first] == sorted((hit["score"] for hit in first), reverse=True)


def test_an_image_file_finds_itself_by_the_encoder_that_filled_the_store(made, capsys):
    hits = _json(capsys, f"search {made}/photos.lance {made}/photos/1/1.png --k 1")["hits"]
    assert hits[0]["id"] == "1/1.png"
    assert hits[0]["score"] == pytest.approx(1, abs=0.01)


def test_clusters_are_a_partition(made, capsys):
    result = _json(capsys, f"clusters {made}/photos.lance --k 3")["clusters"]
    assert len(result) == 3
    assert len({name for group in result for name in group}) == sum(map(len, result)) == COUNT


@pytest.mark.parametrize("method", ["hkmeans", "sas"])
def test_curate_keeps_a_share_or_a_number_and_lists_it(made, capsys, method):
    result = _json(capsys, f"curate {made}/photos.lance --method {method} --keep 0.5 --out {made}/keep.txt")
    assert len(set(result["kept"])) == COUNT // 2 and result["of"] == COUNT
    assert (made / "keep.txt").read_text().split() == result["kept"]
    assert sum(row["kept"] for row in result["clusters"]) == COUNT // 2
    assert [row["samples"] for row in result["classes"]] == [21, 19, 20]
    assert len(_json(capsys, f"curate {made}/photos.lance --method {method} --keep 7")["kept"]) == 7
    assert len(_json(capsys, f"curate {made}/photos.lance --method {method} --keep 1.0")["kept"]) == COUNT
    assert main(["curate", f"{made}/photos.lance", "--method", method, "--keep", "2.5"]) == 2
    assert "a share in (0, 1] or a whole number from 2 on; got 2.5" in capsys.readouterr().err
    assert main(["curate", f"{made}/photos.lance", "--method", method, "--keep", "61"]) == 2
    assert f"Of {COUNT} rows 1 to {COUNT} can be kept; 61" in capsys.readouterr().err


def test_duplicates_are_above_the_threshold(made, capsys):
    result = _json(capsys, f"duplicates {made}/photos.lance --threshold 0.9")
    assert result["pairs"]
    assert all(pair["cosine"] >= 0.9 for pair in result["pairs"])
    assert result["total"] == len(result["pairs"])


def test_command_report_and_studio_find_the_same_duplicates(made, capsys):
    copy = _json(capsys, f"embed {made}/run {made}/photos --out {made}/copies.lance")["store"]
    store = Store.open(copy)
    store.append(None, store.vectors()[[5, 9]], ids=["again 5", "again 9"])
    names = store.names
    result = _json(capsys, f"duplicates {copy}")
    assert {"first": names[5], "second": "again 5", "cosine": 1.0} in result["pairs"]
    assert result["chance"] <= 0.05 * result["total"] + 0.01
    review = Review(store, "vector")
    review.find()
    assert [[names[row] for row in group] for group in review.groups] == result["groups"]
    shown = looks.copies(SimpleNamespace(store=store, pictures=lambda rows: list(rows)))
    assert (shown["total"], shown["groups"], shown["surplus"]) == (
        result["total"], len(result["groups"]), review.surplus,
    )  # fmt: skip
    assert main(["duplicates", copy]) == 0
    text = capsys.readouterr().out
    assert "Look at them first" in text and "expected by chance" in text


@pytest.mark.parametrize(
    "words",
    ["search {} 7 --k 3", "search {} {}/photos/1/1.png", "duplicates {} --threshold 0.9", "clusters {} --k 3",
     "curate {} --keep 9", "curate {} --keep 9 --method sas"],
)  # fmt: skip
def test_pages_show_the_pictures_of_what_was_found(made, capsys, words):
    page = made / "page.html"
    result = _json(capsys, words.format(f"{made}/photos.lance", made) + f" --out {page}")
    text = page.read_text()
    assert text.count("<img") >= 3 and "http" not in text, "needs nothing from elsewhere"
    listed = result.get("kept") or [hit["id"] for hit in result.get("hits", [])]
    assert all(f"{name}\n" in text for name in listed)


def test_a_second_encoding_lies_beside_the_first(made, capsys):
    _json(capsys, f"embed {made}/run {made}/photos --out {made}/two.lance")
    words = f"embed {made}/run {made}/photos --into {made}/two.lance --column"
    assert _json(capsys, f"{words} vector_again")["column"] == "vector_again"
    first = _json(capsys, f"search {made}/two.lance 7 --k 3")["hits"]
    assert _json(capsys, f"search {made}/two.lance 7 --k 3 --column vector_again")["hits"] == first
    assert main(f"{words} vector_again".split()) == 2 and "cannot name new" in capsys.readouterr().err
    assert main(words.split()[:-1]) == 2 and "goes with --column" in capsys.readouterr().err


def test_an_encoder_with_weights_embeds_without_a_run(made, capsys, monkeypatch):
    make = timm.create_model

    def fetch(name, pretrained=False, **options):
        torch.manual_seed(5)
        return make(name, **options)

    monkeypatch.setattr(timm, "create_model", fetch)
    monkeypatch.setattr(timm_encoder, "_check_reachable", lambda repository: None)
    answer = _json(capsys, f"embed timm:resnet10t {made}/photos --out {made}/timm.lance")
    assert answer["samples"] == COUNT and Store.open(made / "timm.lance").width() == answer["width"] == 512
    hits = _json(capsys, f"search {made}/timm.lance {made}/photos/1/1.png --k 1")["hits"]
    assert hits[0]["id"] == "1/1.png" and hits[0]["score"] == pytest.approx(1, abs=0.01)
    assert main(f"search {made}/timm.lance {made}/photos/1/1.png --encoder {made}/run".split()) == 2
    assert "filled by another encoder" in capsys.readouterr().err
    assert main(f"embed timm:resnet10t {made}/photos".split()) == 2
    assert "say where it goes: --out" in capsys.readouterr().err


def test_rows_go_out_and_in_change_and_go(made, capsys):
    exported = _json(capsys, f"export {made}/photos.lance {made}/some.json --where label>0")
    assert exported["rows"] == 39
    assert _json(capsys, f"import {made}/some.json --out {made}/some.lance")["samples"] == 39
    changed = _json(capsys, f"update {made}/some.lance --set label=1 --ids 1/1.png,2/2.png")
    assert changed["rows"] == 2
    (made / "gone.txt").write_text("2/2.png\n")
    assert _json(capsys, f"delete {made}/some.lance --ids @{made}/gone.txt") == {
        "deleted": 1, "of": 39, "left": 38, "missing": 0, "version": changed["version"] + 1,
    }  # fmt: skip
    assert _json(capsys, f"delete {made}/some.lance --where label=1 --yes")["deleted"] == 20
    for words, line in {
        f"delete {made}/some.lance": "either --ids or --where",
        f"delete {made}/some.lance --where colour=1": "Unknown column 'colour'",
        f"update {made}/some.lance --set label=many --ids 1/4.png": "label of .*some.lance is int64; 'many'",
        f"update {made}/some.lance --set lable=1 --ids 1/4.png": "did you mean 'label'",
        f"export {made}/some.lance {made}/x.csv": "must end in",
        f"import {made}/nowhere.npz": "There is no file",
    }.items():
        assert main(words.split()) == 2
        assert re.search(line, capsys.readouterr().err), words


def test_measure_prints_its_table_and_keeps_it_for_the_report(made, capsys):
    result = _json(capsys, f"measure {made}/run {made}/photos --protocols knn")
    assert len(result["rows"]) == 3
    assert json.loads((made / "run" / "measure.json").read_text())["rows"] == result["rows"]


def test_a_second_run_in_the_same_folder_is_refused(made, capsys):
    capsys.readouterr()
    assert main(["learn", "simclr", f"{made}/photos", "--out", f"{made}/run"]) == 2
    assert "already holds a run" in capsys.readouterr().err
