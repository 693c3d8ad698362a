"""Commands that look into an encoder, on scans of digits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from vergence.cli import main
from vergence.use.simvis import overlay_heat


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    scans = load_digits(n_class=3)
    for i, (pixels, label) in enumerate(zip(scans.images[:40], scans.target, strict=False)):
        (folder / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / "photos" / str(label) / f"{i}.png")
    learn = f"learn simclr {folder}/photos --size 16 --epochs 1 --out {folder}/run --quiet"
    assert main(learn.split()) == 0
    return folder


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Scans of digits, one of two halves written down for each."""
    folder = tmp_path_factory.mktemp("groups")
    scans = load_digits(n_class=3)
    lines = ["name,half,lat,lon"]
    for i, (pixels, label) in enumerate(zip(scans.images[:300], scans.target, strict=False)):
        (folder / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / "photos" / str(label) / f"{i}.png")
        lines.append(f"{i}.png,{'odd' if i % 2 else 'even'},{10 * label},{i / 100}")
    (folder / "halves.csv").write_text("\n".join(lines))
    return folder


def said(capsys, words):
    capsys.readouterr()
    assert main(words.split()) == 0
    return capsys.readouterr().out


def test_explain_gives_maps_that_add_up_and_a_page(made, capsys):
    pair = f"{made}/photos/0/0.png {made}/photos/1/1.png"
    result = json.loads(said(capsys, f"explain {made}/run {pair} --out {made}/why.html --json"))
    for name in ("first", "second"):
        assert np.sum(result[name]["map"]) == pytest.approx(result["cosine"], abs=2e-3)
    page = (made / "why.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "0.png" in page
    text = said(capsys, f"explain {made}/run {made}/photos/0/0.png {made}/photos/0/0.png")
    assert text.startswith("cosine 1.000") and "row" in text


def test_explain_says_what_is_missing(made, capsys):
    assert main(["explain", f"{made}/run", f"{made}/photos/0/0.png", f"{made}/no.png"]) == 2
    assert "no image file" in capsys.readouterr().err
    (made / "broken.png").write_text("not a picture")
    assert main(["explain", f"{made}/run", f"{made}/photos/0/0.png", f"{made}/broken.png"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_heat_is_red_for_blue_against_and_grey_for_neither():
    picture = np.full((1, 3, 3), 100, np.uint8)
    red, blue, grey = overlay_heat(picture, np.array([[1.0, -1.0, 0.0]]), 1.0)[0].astype(int)
    assert red[0] > red[2] + 80 and blue[2] > blue[0] + 80 and (grey == 100).all()


def test_audit_compares_groups_and_writes_a_page(made, grouped, capsys):
    words = f"audit {made}/run {grouped}/photos --groups {grouped}/halves.csv:half"
    places = f"--places {grouped}/halves.csv:lat,lon --watched 2 --confidence 0.3"
    result = json.loads(said(capsys, f"{words} {places} --out {grouped}/audit.html --json"))
    measures = {gap["measure"] for gap in result["gaps"]}
    assert {"right", "wrongly called 2", "edited copy found", "placed within 25 km"} <= measures
    assert sum(result["sizes"].values()) == result["overall"]["right"]["n"]
    page = (grouped / "audit.html").read_text()
    assert page.count("<article") == len(measures) and "even (" in page
    text = said(capsys, words)
    assert "right" in text and "points" in text and "does not say why" in text


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("", "audit needs --groups"),
        ("--groups halves", "FILE.csv:COLUMN"),
        ("--groups {folder}/no.csv:half", "cannot be read"),
        ("--groups {folder}/halves.csv:third", "no column 'third'; it has name, half, lat, lon"),
    ],
)
def test_audit_says_which_groups_it_needs(made, grouped, capsys, groups, words):
    groups_given = groups.format(folder=grouped)
    assert main(f"audit {made}/run {grouped}/photos {groups_given}".split()) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_compare_counts_all_tokens_of_both_and_shows_them(made, capsys):
    words = f"compare {made}/photos/0 {made}/photos/1 --run {made}/run --prototypes 6 --epochs 1"
    result = json.loads(said(capsys, f"{words} --out {made}/compared.html --json"))
    kinds = [result[kind] for kind in result if kind not in ("collections", "tokens")]
    assert len(kinds) == 3 and result["collections"] == [f"{made}/photos/0", f"{made}/photos/1"]
    listed = np.array([row["tokens"] for kind in kinds for row in kind]).sum(0)
    assert (listed <= result["tokens"]).all() and (listed > 0.5 * np.array(result["tokens"])).all()
    assert (made / "compared.html").read_text().count("data:image/png") >= 4


def test_compare_says_what_is_missing(made, capsys):
    assert main(["compare", f"{made}/photos/0", f"{made}/photos/1"]) == 2
    assert "--run RUN" in capsys.readouterr().err
    assert main(["compare", f"{made}/photos/0", "karate", "--run", f"{made}/run"]) == 2
    assert "holds no images" in capsys.readouterr().err
