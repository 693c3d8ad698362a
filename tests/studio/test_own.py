"""Own vectors in one command: with pictures, with a table, as texts; and what a camera wrote."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from vergence.cli import main
from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio.exif import exif
from vergence.studio.own import open_or_import

pytest.importorskip("starlette")
from starlette.testclient import TestClient  # noqa: E402

from vergence.studio.app import serving  # noqa: E402
from vergence.studio.session import Session  # noqa: E402

EVIL = "<img src=x onerror=alert(1)>"
X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
NAMES = [f"{'cat' if i < 3 else 'dog'}/{i}.png" for i in range(6)]


def written(tags):
    file = io.BytesIO()
    data = Image.Exif()
    for part, values in tags.items():
        target = data if part is None else data.get_ifd(part)
        target.update(values)
    Image.new("RGB", (30, 20), "red").save(file, "JPEG", exif=data)
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    for i, name in enumerate(NAMES):
        place = tmp_path / "photos" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + i, 20), (40 * i, 90, 90)).save(place)
    return tmp_path / "photos"


def colours(store):
    pictures = store.take(np.arange(len(store)), ["thumbnail"])["thumbnail"].to_pylist()
    return [Image.open(io.BytesIO(raw)).getpixel((0, 0))[0] for raw in pictures]


def test_vectors_have_the_pictures_in_the_order_of_their_names(tmp_path, photos):
    np.save(tmp_path / "v.npy", X)
    store = open_or_import(tmp_path / "v.npy", images=photos)
    assert colours(store) == [0, 40, 80, 120, 160, 200] and (store.vectors() == X).all()
    assert store.classes == ["cat", "dog"] and store.label_name == "folder"
    session = Session(store)
    about = session.originals.describe(5)
    assert about["path"] == str(photos / NAMES[5]) and (about["width"], about["height"]) == (25, 20)
    assert about["bytes"] == (photos / NAMES[5]).stat().st_size and about["exif"] == []
    assert len(open_or_import(tmp_path / "v.npy")) == 6  # what is not given again is not asked about
    with pytest.raises(BadInput, match="is not what"):
        open_or_import(tmp_path / "v.npy", images=tmp_path)
    np.save(tmp_path / "w.npy", X[:5])
    with pytest.raises(BadInput, match="6 pictures for 5 rows"):
        open_or_import(tmp_path / "w.npy", images=photos)
    assert not (tmp_path / "w.npy.lance").exists()


def test_a_table_names_the_pictures_of_its_rows_and_says_more_of_them(tmp_path, photos):
    order = [4, 0, 0, 5]  # one of them twice
    caption = ["a", EVIL, "c", "d"]
    table = {"file_name": [NAMES[i].split("/")[1] for i in order], "caption": caption, "year": [1, 2, 3, 4]}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    np.save(tmp_path / "v.npy", X[:4])
    store = open_or_import(tmp_path / "v.npy", table=tmp_path / "rows.parquet", images=photos)
    assert colours(store) == [160, 0, 0, 200] and store.names == ["0", "1", "2", "3"]
    assert store.where("year >= 3").tolist() == [2, 3]
    assert store.read(["class"])["class"].to_pylist() == ["dog", "cat", "cat", "dog"]
    table["file_name"][1] = "9.png"
    pq.write_table(pa.table(table), tmp_path / "other.parquet")
    np.save(tmp_path / "w.npy", X[:4])
    with pytest.raises(BadInput, match=r"'9\.png' is not there"):
        open_or_import(tmp_path / "w.npy", table=tmp_path / "other.parquet", images=photos)


def test_rows_of_text_are_shown_as_texts(tmp_path):
    texts = [f"{EVIL} number {i} " + "long " * (400 * i) for i in range(6)]
    columns = {"words": texts, "kind": ["a", "b"] * 3, "e": list(X)}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    store = open_or_import(tmp_path / "rows.parquet", vector="e")
    session = Session(store)
    session.start = lambda patience: None
    assert session.text == "words" and (store.vectors() == X).all()
    with TestClient(serving(session), base_url="http://127.0.0.1:7860") as client:
        card = client.get("/studio/card/3").json()
        assert card["picture"] is None and card["text"] == f"{texts[3][:299]}…"
        point = client.get("/studio/point/3").json()
        assert point["point"]["text"] == f"{texts[3][:3999]}…"
        assert [name for name, _ in point["point"]["facts"]] == ["kind"]
        assert point["near"][0]["text"].startswith(EVIL)
    short = Store.create(tmp_path / "s.lance", None, X, ids=NAMES, metadata={"kind": ["a", "b"] * 3})
    assert Session(short).text is None


@pytest.mark.parametrize(
    ("vector", "table", "line"),
    [
        ("f", None, "known: e"),
        (None, None, "needs the columns id and vector"),
        ("e", "rows.parquet", "columns of its own"),
    ],
)
def test_a_wrong_column_is_one_line_and_leaves_nothing(tmp_path, vector, table, line):
    pq.write_table(pa.table({"e": list(X)}), tmp_path / "rows.parquet")
    with pytest.raises(BadInput, match=line):
        open_or_import(tmp_path / "rows.parquet", vector=vector, table=table and tmp_path / table)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.parquet"]


def test_the_command_takes_a_table_alone(tmp_path, monkeypatch, capsys):
    pq.write_table(pa.table({"e": list(X)}), tmp_path / "rows.parquet")
    monkeypatch.setattr("vergence.studio.app.launch", lambda store, ready, **_: ready("here"))
    words = ["--table", str(tmp_path / "rows.parquet"), "--vector", "e", "--json", "--no-browser"]
    assert main(["studio", *words]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 6
    assert main(["studio", "--json"]) == 2 and "STORE" in capsys.readouterr().err
    assert main(["studio", str(tmp_path / "rows.parquet.lance"), "--images", str(tmp_path), "--json"]) == 2
    assert "is a store already" in capsys.readouterr().err


def test_what_a_camera_wrote_is_read_and_what_is_broken_is_not():
    base, gps = ExifTags.Base, ExifTags.GPS
    tags = {
        None: {base.Make: "Own", base.Model: "Own One\x00\n<b>", base.Software: "s" * 500},
        ExifTags.IFD.Exif: {
            base.DateTimeOriginal: "2024:05:06 07:08:09",
            base.ExposureTime: 0.004,
            base.FNumber: 2.8,
            base.ISOSpeedRatings: 200,
            base.FocalLength: 35.0,
        },
        ExifTags.IFD.GPSInfo: {
            gps.GPSLatitudeRef: "S",
            gps.GPSLatitude: (33.0, 30.0, 0.0),
            gps.GPSLongitudeRef: "E",
            gps.GPSLongitude: (151.0, 15.0, 36.0),
        },
    }
    raw = written(tags)
    assert dict(exif(raw)) == {
        "taken": "2024:05:06 07:08:09",
        "camera": "Own One<b>",
        "exposure": "1/250 s",
        "aperture": "f/2.8",
        "ISO": "200",
        "focal length": "35 mm",
        "place": "-33.50000, 151.26000",
        "software": "s" * 80,
    }
    random = np.random.default_rng(0)
    for _ in range(200):  # a hostile file is answered with less, never with an error
        broken = bytearray(raw)
        for place in random.integers(20, 400, 12):
            broken[place] = random.integers(256)
        assert all(isinstance(value, str) for _, value in exif(bytes(broken)))
    assert exif(b"no picture") == []
