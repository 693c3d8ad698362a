"""What is in memory opens like what lies on a disk, and several sources open as one."""

import io
import sys
import types

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import vergence
from vergence.core import BadInput


def noise(n=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 5, 3), np.uint8)


def pixels(source):
    return next(source.loader(len(source))).pixels.permute(0, 2, 3, 1).numpy()


class Pets(Dataset):
    def __init__(self, images, labels):
        self.images, self.names = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return Image.fromarray(self.images[i]), self.names[i]


@pytest.mark.parametrize(
    "of",
    [
        lambda x: x,
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: torch.from_numpy(x),
        lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255,
        lambda x: x / 255.0,
        lambda x: [Image.fromarray(image) for image in x],
        list,
        lambda x: np.array([*map(Image.fromarray, x), None], object)[:-1],
        lambda x: Pets(x, [None] * len(x)),
        lambda x: TensorDataset(torch.from_numpy(x).permute(0, 3, 1, 2)),
    ],
)
def test_images_in_memory_are_the_same_however_they_come(of):
    source = vergence.open(of(noise()))
    assert source.modality == "image" and source.labels is None
    assert (pixels(source) == noise()).all()
    assert (source.sample(2) == noise()[2]).all()
    assert list(source.names) == ["memory#0", "memory#1", "memory#2", "memory#3"]


def test_grey_images_become_rgb():
    source = vergence.open(noise()[..., 0])
    assert (pixels(source) == noise()[..., :1]).all()


def test_data_sets_of_torch_keep_their_labels():
    ints = vergence.open(TensorDataset(torch.from_numpy(noise()), torch.tensor([3, 0, 3, 1])))
    assert ints.labels.tolist() == [3, 0, 3, 1] and ints.classes is None
    floats = TensorDataset(torch.from_numpy(noise()), torch.tensor([1.0, 0.0, float("nan"), 2.0]))
    assert vergence.open(floats).labels.tolist() == [1, 0, -1, 2]
    assert vergence.open(Pets(noise(), [1.0, 0.0, None, 1.0])).labels.tolist() == [1, 0, -1, 1]
    assert vergence.open(Pets(noise(), [0.5, 0.1, 0.2, 1.0])).labels is None
    words = vergence.open(Pets(noise(), ["dog", "cat", None, "dog"]))
    assert words.labels.tolist() == [1, 0, -1, 1] and words.classes == ["cat", "dog"]
    whole = Pets(noise(), [1, 0, 1, 0])
    whole.targets, whole.classes = [1, 0, 1, 0], ["no", "yes"]
    part = vergence.open(Subset(whole, [2, 1]))
    assert part.labels.tolist() == [1, 0] and part.classes == ["no", "yes"]
    assert (pixels(part) == noise()[[2, 1]]).all()


def test_a_broken_item_of_a_data_set_is_skipped_as_a_broken_file_is():
    class Broken(Pets):
        def __getitem__(self, i):
            if i == 2:
                raise OSError("the disk is gone")
            return super().__getitem__(i)

    data = Broken(noise(), [0, 1, 0, 1])
    data.targets = [0, 1, 0, 1]
    source = vergence.open(data)
    assert next(source.loader(4)).index.tolist() == [0, 1, 3]
    assert source.skipped.reasons == {"memory#2": "the disk is gone"}


def check_hugging_face(datasets):
    features = datasets.Features({"img": datasets.Image(), "y": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"img": [Image.fromarray(image) for image in noise()], "y": [1, 0, 1, 1]}
    source = vergence.open(datasets.Dataset.from_dict(rows, features=features))
    assert source.labels.tolist() == [1, 0, 1, 1] and source.classes == ["cat", "dog"]
    assert (pixels(source) == noise()).all()
    words = datasets.Features({"label": datasets.Value("string"), "image": datasets.Image()})
    rows = {"image": rows["img"], "label": ["dog", None, "cat", "dog"]}
    source = vergence.open(datasets.Dataset.from_dict(rows, features=words))
    assert source.labels.tolist() == [1, -1, 0, 1] and source.classes == ["cat", "dog"]
    plain = datasets.Features({"y": datasets.Value("int64")})
    with pytest.raises(BadInput, match="memory:images has no column of images; found y"):
        vergence.open(datasets.Dataset.from_dict({"y": [1]}, features=plain))


def test_a_data_set_of_hugging_face_keeps_labels_and_their_names():
    check_hugging_face(pytest.importorskip("datasets"))


def test_so_does_one_with_the_same_interface(monkeypatch):
    """The library is large and often not installed; what is used of it is this."""
    module = stand_in()
    monkeypatch.setitem(sys.modules, "datasets", module)
    check_hugging_face(module)


def test_a_data_set_of_the_hub_whose_cell_is_empty_or_broken_skips_it(monkeypatch):
    module = stand_in()
    monkeypatch.setitem(sys.modules, "datasets", module)
    rows = {"img": [Image.fromarray(image) for image in noise()]}
    data = module.Dataset.from_dict(rows, features=module.Features({"img": module.Image()}))
    data.rows["img"][1], data.rows["img"][2] = None, {"bytes": b"no picture", "path": None}
    source = vergence.open(data)
    assert next(source.loader(4)).index.tolist() == [0, 3]
    assert source.skipped.reasons.keys() == {"memory#1", "memory#2"}


class HubImage:
    def __init__(self, decode=True):
        self.decode = decode


class HubValue:
    def __init__(self, dtype):
        self.dtype = dtype


class HubClasses:
    def __init__(self, names):
        self.names = names


class HubTable:
    """Rows and columns of ``datasets.Dataset``; pictures must be asked for encoded."""

    def __init__(self, rows, features):
        self.rows, self.features = rows, features

    @classmethod
    def from_dict(cls, rows, features):
        encoded = {name for name, kind in features.items() if isinstance(kind, HubImage)}
        cells = {name: [{"bytes": png(v), "path": None} for v in rows[name]] for name in encoded}
        return cls({**rows, **cells}, features)

    def __len__(self):
        return len(next(iter(self.rows.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            assert not isinstance(self.features[key], HubImage), "decodes every picture"
            return self.rows[key]
        assert not any(getattr(kind, "decode", False) for kind in self.features.values()), "decodes it"
        return {name: values[key] for name, values in self.rows.items()}

    def select_columns(self, names):
        return HubTable({n: self.rows[n] for n in names}, {n: self.features[n] for n in names})

    def cast_column(self, name, kind):
        return HubTable(self.rows, {**self.features, name: kind})


HubTable.__module__ = "datasets.arrow_dataset"


def stand_in():
    """Return a module with what is used of ``datasets``: features, rows, columns, pictures left encoded."""
    module = types.ModuleType("datasets")
    module.Image, module.Dataset, module.Features = HubImage, HubTable, dict
    module.Value, module.ClassLabel = HubValue, HubClasses
    return module


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_pictures_of_several_sizes_are_a_list():
    sizes = [(6, 5), (3, 9), (8, 8)]
    source = vergence.open([np.full((*size, 3), i, np.uint8) for i, size in enumerate(sizes)])
    assert [source.sample(i).shape[:2] for i in range(3)] == sizes


def test_a_frame_of_mixed_values_is_one_line():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(BadInput, match="memory:table cannot be read: ") as error:
        vergence.open(pandas.DataFrame({"a": [1, "x", [2]]}))
    assert "\n" not in str(error.value)


def test_data_frames_and_arrays_of_rows_are_tables():
    frame = vergence.open(pa.table({"age": [3.0, 4.0, 5.0], "town": ["a", "b", "a"]}))
    assert frame.modality == "tables"
    assert frame.sample(1) == {"age": 4.0, "town": "b"}
    rows = vergence.open(np.arange(8.0).reshape(4, 2))
    assert rows.modality == "tables" and rows.numeric.tolist() == np.arange(8.0).reshape(4, 2).tolist()
    pandas = pytest.importorskip("pandas")
    assert vergence.open(pandas.DataFrame({"age": [3.0, 4.0]})).numeric.tolist() == [[3], [4]]


def test_what_is_in_memory_can_be_learned_from(tmp_path):
    data = TensorDataset(torch.from_numpy(noise(16)), torch.arange(16) % 2)
    run = vergence.learn(
        "simclr", data, epochs=1, size=8, out=tmp_path / "run", quiet=True, encoder_options={"width": 4}
    )
    assert len(run.embed(data, tmp_path / "store.lance")) == 16
    with pytest.raises(BadInput, match="memory:images was in memory and cannot be opened by name again"):
        vergence.open(run.config.source)


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


class Items(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return {"image": Image.fromarray(noise()[i]), "label": 0}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"a": 1}, r"cannot read a dict; it takes a name or path, and in memory: arrays or tensors"),
        ([], r"cannot read a list of nothing; .* data frames"),
        ([1, 2], r"cannot read a list of 2 int; "),
        (torch.zeros(5), r"cannot read a Tensor of shape \(5,\); "),
        (np.zeros((2, 8, 8, 4), np.uint8), r"\(N, H, W, 3\).*; got \(2, 8, 8, 4\)"),
        (np.zeros((2, 8, 8, 3), np.uint16), "uint8, or float .*; got uint16. Divide .* 65535 of 16 bits"),
        (np.zeros((2, 8, 8, 3), np.int64), "uint8, or float in .*; got int64"),
        (np.zeros((2, 0, 8, 3), np.uint8), r"got \(2, 0, 8, 3\)"),
        (np.zeros((2, 3, 4, 5, 6)), r"Clips in memory are \(N, T, H, W, 3\) or .*; got \(2, 3, 4, 5, 6\)"),
        (np.zeros((2, 3, 4, 5, 6, 7)), r"cannot read a ndarray of shape \(2, 3, 4, 5, 6, 7\)"),
        (np.array([["a", 1], ["b", 2]], object), "holds numbers; this one holds object. Give a data frame"),
        (np.array([[1 + 2j]]), "holds numbers; this one holds complex128"),
        (Image.new("RGB", (4, 4)), r"One image is no data to learn from; give a list of them"),
        (pa.table({"when": pa.array([1, 2], pa.timestamp("s"))}), "no column of numbers or categories"),
        (pa.table({"a": pa.array([], pa.float64())}), "memory:table holds no rows"),
        (None, "cannot read a NoneType"),
        ((image for image in noise()), "cannot read a generator"),
        (Items(), "those of Items are dictionaries of image, label"),
        (noise() * 1.0, r"Images as floats are in \[0, 1\]; these reach from 0 to 255"),
        (np.full((1, 8, 8), np.nan), r"these reach from nan to nan"),
        (Endless(), "an IterableDataset has none"),
        (["digits", "karate"], r"one modality can be joined; got images \(digits\) and graphs \(karate\)"),
        (["karate", "karate"], "Sources of graphs cannot be joined"),
    ],
)
def test_what_cannot_be_read_is_answered_in_one_line(data, said):
    with pytest.raises(BadInput, match=said) as error:
        vergence.open(data)
    assert "\n" not in str(error.value)


def test_joined_sources_keep_their_labels_by_name():
    first = Pets(noise(3), ["cat", "dog", "cat"])
    second = Pets(noise(2, seed=1), ["emu", "cat"])
    source = vergence.open([vergence.open(first), vergence.open(second), vergence.open(noise(1, seed=2))])
    assert source.classes == ["cat", "dog", "emu"]
    assert source.labels.tolist() == [0, 1, 0, 2, 0, -1]
    assert len(set(source.names)) == 6
    assert (pixels(source)[3:5] == noise(2, seed=1)).all()
    assert source.subset([4, 3]).labels.tolist() == [0, 2]


def test_joined_sources_without_names_keep_their_numbers():
    parts = [TensorDataset(torch.from_numpy(noise()), torch.tensor(y)) for y in ([3, 0, 3, 1], [0, 0, 7, 7])]
    source = vergence.open([vergence.open(part) for part in parts])
    assert source.labels.tolist() == [3, 0, 3, 1, 0, 0, 7, 7] and source.classes is None
    assert vergence.open(["digits", parts[0]]).classes == [str(i) for i in range(10)]
