import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vergence.core.errors import BadInput
from vergence.data import open as open_source


def png(value=0, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(file, "PNG")
    return file.getvalue()


def fill(folder, *names):
    for value, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(value))
    return folder


def values(source):
    """The grey value that tells each generated picture from the others."""
    return [int(source.sample(i)[0, 0, 0]) for i in range(len(source))]


def write_parquet(path, labels, first=0, metadata=None, **options):
    rows = [{"bytes": png(first + i), "path": None} for i in range(len(labels))]
    table = pa.table({"image": rows, "label": labels})
    pq.write_table(table.replace_schema_metadata(metadata), path, **options)


def write_tar(path, entries):
    with tarfile.open(path, "w") as shard:
        for name, raw in entries:
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            shard.addfile(info, io.BytesIO(raw))


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    source, truth = open_source("digits"), load_digits()
    assert len(source) == 1797
    assert source.labels.tolist() == truth.target.tolist()
    batch = next(source.loader(1797))
    ink = batch.pixels.numpy().astype(float) * 16 / 255
    assert np.abs(ink - truth.images[:, None]).max() < 0.04  # rounded to 255 steps
    assert batch.pixels.max() == 255
    assert source.view_options["flip"] == 0.0


def test_views_take_the_options_that_digits_ask_for():
    views = pytest.importorskip("vergence.methods.image.views")
    source = open_source("digits")
    a, b = views.KINDS["pair"](16, **source.view_options)(next(source.loader(4)))
    assert a.pixels.shape == (4, 3, 16, 16)
    assert not a.flip.any()
    assert not b.flip.any()


def test_a_source_comes_back_as_it_is():
    source = open_source("digits")
    assert open_source(source) is source


def test_nested_folders_are_labels_in_the_order_of_their_names(tmp_path):
    source = open_source(fill(tmp_path, "cat/a.png", "ant/b.png", "cat/deep/c.jpg", "dog/d.PNG"))
    assert list(source.names) == ["ant/b.png", "cat/a.png", "cat/deep/c.jpg", "dog/d.PNG"]
    assert source.classes == ["ant", "cat", "dog"]
    assert source.labels.tolist() == [0, 1, 1, 2]
    assert values(source) == [1, 0, 2, 3]


def test_folders_are_folders_until_somebody_has_split_them_for_training(tmp_path):
    fill(tmp_path / "photos", "2023/a.png", "2024/b.png")
    fill(tmp_path / "set", "train/cat/a.png", "train/dog/b.png", "test/cat/c.png")
    photos, labelled = open_source(tmp_path / "photos"), open_source(tmp_path / "set")
    assert photos.label_name == "folder" and repr(photos).startswith("<2 images, 2 folders, from")
    assert labelled.label_name == "class" and repr(labelled).startswith("<3 images, 2 classes, from")
    assert open_source([tmp_path / "photos", tmp_path / "photos"]).label_name == "folder"
    assert open_source([tmp_path / "photos", tmp_path / "set"]).label_name == "class"
    assert photos.subset([0]).label_name == "folder" and open_source("digits").label_name == "class"


def test_a_flat_folder_and_a_single_inner_folder_have_no_labels(tmp_path):
    assert open_source(fill(tmp_path / "flat", "b.png", "a.png")).labels is None
    assert open_source(fill(tmp_path / "one", "images/b.png", "images/a.png")).labels is None


def test_pictures_beside_labelled_folders_are_unlabelled(tmp_path):
    source = open_source(fill(tmp_path, "a/1.png", "b/1.png", "loose.png"))
    assert source.labels.tolist() == [0, 1, -1]


def test_splits_are_not_taken_for_labels(tmp_path):
    source = open_source(fill(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/2.png"))
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [0, 1, 0]


def test_hidden_files_are_not_pictures(tmp_path):
    source = open_source(fill(tmp_path, "a.png", "._a.png", ".cache/b.png", "__MACOSX/c.png"))
    assert list(source.names) == ["a.png"]


def test_parquet_takes_class_names_from_the_hubs_metadata(tmp_path):
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    write_parquet(tmp_path / "x.parquet", [1, 0, 1], metadata=metadata)
    source = open_source(tmp_path / "x.parquet")
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [1, 0, 1]
    assert source.names[2] == "x.parquet#2"
    assert values(source) == [0, 1, 2]


def test_parquet_shards_and_row_groups_keep_their_order(tmp_path):
    write_parquet(tmp_path / "a-0.parquet", ["x", "y", None], first=0, row_group_size=2)
    write_parquet(tmp_path / "a-1.parquet", ["x", "x"], first=3)
    for uri in (tmp_path, f"{tmp_path}/a-*.parquet", f"{tmp_path}/a-{{0..1}}.parquet"):
        source = open_source(uri)
        assert source.classes == ["x", "y"]
        assert source.labels.tolist() == [0, 1, -1, 0, 0]
        assert values(source) == [0, 1, 2, 3, 4]


def test_parquet_with_a_plain_binary_column_and_an_empty_cell(tmp_path):
    pq.write_table(
        pa.table({"id": [1, 2], "png": pa.array([png(5), None], pa.binary())}), tmp_path / "x.parquet"
    )
    source = open_source(tmp_path / "x.parquet", limit=0.5)
    assert source.labels is None
    assert [len(b) for b in source.loader(2)] == [1]
    assert source.skipped.reasons == {"x.parquet#1": "the cell is empty"}


def test_parquet_row_groups_that_do_not_fit_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("vergence.data.image.parquet.budget", lambda: 600)
    write_parquet(tmp_path / "x.parquet", [0] * 40, row_group_size=4)
    source = open_source(tmp_path / "x.parquet")
    order = np.concatenate([b.index for b in source.loader(5, shuffle=True, seed=1)])
    assert sorted(order) == list(range(40))
    assert order.tolist() != list(range(40))
    assert len(source.reader.loaded) <= 2
    groups = order // 4
    together = source.reader.together
    assert 1 <= together < 10
    for i in range(0, 40, 4 * together):
        assert len(set(groups[i : i + 4 * together])) <= together


@pytest.mark.parametrize("pattern", ["s-{00..01}.tar", "s-*.tar", "s-{00,01}.tar", ""])
def test_tar_shards_pair_pictures_with_their_labels(tmp_path, pattern):
    write_tar(
        tmp_path / "s-00.tar", [("a.cls", b"1"), ("a.png", png(0)), ("b.png", png(1)), ("b.cls", b" 0\n")]
    )
    write_tar(tmp_path / "s-01.tar", [("./a.seg.png", png(9)), ("./a.png", png(2)), ("./a.json", b"{}")])
    source = open_source(f"{tmp_path}/{pattern}")
    assert list(source.names) == ["s-00.tar/a.png", "s-00.tar/b.png", "s-01.tar/a.png"]
    assert source.labels.tolist() == [1, 0, -1]
    assert values(source) == [0, 1, 2]


def test_tar_labels_may_be_words_or_folders(tmp_path):
    write_tar(tmp_path / "w.tar", [("a.png", png()), ("a.cls", b"dog"), ("b.png", png()), ("b.cls", b"cat")])
    assert open_source(tmp_path / "w.tar").classes == ["cat", "dog"]
    write_tar(tmp_path / "f.tar", [("dog/a.png", png()), ("cat/a.png", png())])
    source = open_source(tmp_path / "f.tar")
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [1, 0]


def test_a_shard_that_ends_early_loses_only_its_last_picture(tmp_path):
    write_tar(tmp_path / "x.tar", [(f"{i}.png", png(i)) for i in range(4)])
    raw = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(raw[: 3 * 1024 + 512 + 20])
    source = open_source(tmp_path / "x.tar")
    assert sum(len(batch) for batch in source.loader(2)) == 3
    assert source.skipped.reasons == {"x.tar/3.png": "the file ends in the middle of it"}


def test_torchvision_sets_held_as_arrays(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 3), ("t10k", 2)):
        images = np.arange(n * 28 * 28, dtype=np.uint8).reshape(n, 28, 28)
        head = b"".join(i.to_bytes(4, "big") for i in (0x803, n, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = b"".join(i.to_bytes(4, "big") for i in (0x801, n))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(range(n)))
    source = open_source(f"torchvision:MNIST:{tmp_path}")
    assert len(source) == 3
    assert source.labels.tolist() == [0, 1, 2]
    assert len(source.classes) == 10
    batch = next(source.loader(3))
    assert batch.pixels.shape == (3, 3, 28, 28)
    assert batch.pixels[0, :, 0, 5].tolist() == [5, 5, 5]
    assert len(open_source(f"torchvision:MNIST:{tmp_path}:test")) == 2


def test_torchvision_sets_that_give_one_picture_at_a_time(tmp_path):
    source = open_source(f"torchvision:ImageFolder:{fill(tmp_path, 'a/0.png', 'b/1.png')}")
    assert source.classes == ["a", "b"]
    assert source.labels.tolist() == [0, 1]
    assert values(source) == [0, 1]
    assert [b.index.tolist() for b in source.loader(2)] == [[0, 1]]


def test_hub_sets_are_read_through_datasets(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"img": [{"bytes": png(i), "path": None} for i in range(3)], "label": [1, 0, 1]}
    table = datasets.Dataset.from_dict(rows, features=features)
    calls = []

    def load(name, *config, split=None):
        calls.append((name, *config, split))
        return table if split else datasets.DatasetDict({"test": table.select([0]), "train": table})

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = open_source("hf:org/pets")
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [1, 0, 1]
    assert values(source) == [0, 1, 2]
    assert len(open_source("hf:org/pets:small:test")) == 3
    assert calls == [("org/pets", None), ("org/pets", "small", "test")]


@pytest.mark.parametrize(
    ("values", "labels", "classes"),
    [
        ([1.0, None, 0.0], [1, -1, 0], None),
        ([True, False, None], [1, 0, -1], ["false", "true"]),
        (["dog", "cat", "dog"], [1, 0, 1], ["cat", "dog"]),
        ([0.5, 1.5, 2.0], None, None),
    ],
)
def test_labels_of_a_hub_set_are_read_whatever_their_type_and_a_second_picture_is_noted(
    values, labels, classes
):
    datasets = pytest.importorskip("datasets")
    cells = [{"bytes": png(i), "path": None} for i in range(3)]
    table = datasets.Dataset.from_dict({"image": cells, "mask": cells, "label": values})
    table = table.cast_column("image", datasets.Image()).cast_column("mask", datasets.Image())
    source = open_source(table)
    assert (None if source.labels is None else source.labels.tolist(), source.classes) == (labels, classes)
    why = "column 'label' left out: it holds numbers that are not whole, and labels are classes"
    assert source.notes == [
        "column 'image' is read; 3 pictures of mask left out",
        *([why] if labels is None else []),
    ]


def test_a_hub_set_out_of_reach_is_one_line(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def load(*_, **__):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(BadInput, match=r"hf:org/pets cannot be had .*: no network\. .*parquet") as error:
        open_source("hf:org/pets")
    assert "\n" not in str(error.value)


def test_without_datasets_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install .*\[hf\]'"):
        open_source("hf:org/pets")


def test_wrong_uris_are_answered_with_what_was_found_and_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"x")
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b nonsense")
    (tmp_path / "x.parquet").write_bytes(b"nonsense")
    (tmp_path / "notes.txt").write_bytes(b"nonsense")
    pq.write_table(pa.table({"age": [1]}), tmp_path / "ages.parquet")
    write_tar(tmp_path / "text.tar", [("a.txt", b"x")])
    fill(tmp_path / "photos", "a.png")
    cases = {
        "digit": "did you mean digits?",
        f"{tmp_path}/foto": f"Nothing found at {tmp_path}/foto; did you mean {tmp_path}/photos?",
        f"{tmp_path}/empty": "holds no files; needs images, videos, event sequences, graphs or tables",
        f"{tmp_path}/films": "not a video in a known format",
        f"{tmp_path}/x.tar.gz": "compressed; unpack it",
        f"{tmp_path}/x.parquet": "not a parquet file",
        f"{tmp_path}/ages.parquet": "has no column of images; found age",
        f"{tmp_path}/text.tar": "No images in",
        f"{tmp_path}/notes.txt": "of no known kind",
        f"{tmp_path}/photos/a.png": f"a single image; open the folder it is in: {tmp_path}/photos",
        f"{tmp_path}/x-{{0..3}}.tar": "x-0.tar, one of the 4 files",
        "torchvision:CIFAR11": "did you mean 'CIFAR10'",
        f"torchvision:ImageFolder:{tmp_path}/none": "name the folder that holds it",
    }
    for uri, expected in cases.items():
        with pytest.raises(BadInput) as error:
            open_source(uri)
        assert expected in str(error.value), uri
        assert "\n" not in str(error.value)


def test_the_limit_is_a_share():
    with pytest.raises(BadInput, match=r"in \[0, 1\]; got 1.5"):
        open_source("digits", limit=1.5)


def test_a_subset_keeps_names_labels_and_pictures_together(tmp_path):
    source = open_source(fill(tmp_path, "a/0.png", "a/1.png", "b/2.png", "b/3.png"))
    part = source.subset([3, 1]).subset(np.array([True, False]))
    assert list(part.names) == ["b/3.png"]
    assert part.labels.tolist() == [1]
    assert values(part) == [3]
    batch = next(source.subset([3, 1]).loader(2))
    assert batch.index.tolist() == [0, 1]
    assert batch.pixels[:, 0, 0, 0].tolist() == [3, 1]
