"""Shapes from files: every format gives the same corners, folders give labels, bad files one line."""

from __future__ import annotations

import numpy as np
import pytest

import vergence
from vergence.core import BadInput

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, -2, 3.25]])
FACES = [(0, 1, 2), (0, 1, 3)]


def listed(corners):
    return "".join(f"{x} {y} {z}\n" for x, y, z in corners)


def ply(corners, form):
    kinds = "property float x\nproperty uchar red\nproperty double y\nproperty float z\n"
    head = f"ply\nformat {form} 1.0\ncomment made by hand\nelement vertex {len(corners)}\n{kinds}"
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    if form == "ascii":
        return (head + "".join(f"{x} 7 {y} {z}\n" for x, y, z in corners) + "3 0 1 2\n").encode()
    order = "<" if "little" in form else ">"
    rows = np.zeros(
        len(corners), [("x", order + "f4"), ("r", "u1"), ("y", order + "f8"), ("z", order + "f4")]
    )
    rows["x"], rows["y"], rows["z"] = corners.T
    return head.encode() + rows.tobytes() + b"\x03\0\0\0\0\1\0\0\0\2\0\0\0"


def write(folder, corners, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    faces = "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES)
    texts = {
        "a.xyz": "# x y z normals\n" + "".join(f"{line} 0 0 1\n" for line in listed(corners).splitlines()),
        "a.off": f"OFF\n# corners, faces, edges\n{len(corners)} 2 0\n{listed(corners)}{faces}",
        "b.off": f"OFF{len(corners)} 2 0\n{listed(corners)}{faces}",
        "a.obj": "# Blender\n"
        + "".join(f"v {line}\n" for line in listed(corners).splitlines())
        + "vn 0 0 1\n",
    }
    if path.name == "a.npy":
        np.save(path, corners)
    elif path.suffix == ".ply":
        path.write_bytes(ply(corners, path.stem))
    else:
        path.write_text(texts[path.name])
    return path


FORMATS = ["a.npy", "a.xyz", "a.off", "b.off", "a.obj"]
FORMATS += ["ascii.ply", "binary_little_endian.ply", "binary_big_endian.ply"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_same_corners(name, tmp_path):
    source = vergence.open(write(tmp_path, CORNERS, name))
    assert len(source) == 1 and source.grain == "graphs" and source.labels is None
    np.testing.assert_array_equal(source.sample(0).x.numpy(), CORNERS.astype(np.float32))


def test_folders_are_labels_and_arrays_of_three_axes_hold_several_shapes(tmp_path):
    write(tmp_path, CORNERS, "chair/a.off")
    write(tmp_path, CORNERS + 1, "chair/a.xyz")
    (tmp_path / "table").mkdir()
    np.save(tmp_path / "table" / "many.npy", np.stack([CORNERS * k for k in range(1, 4)]))
    for uri in (tmp_path, f"points:{tmp_path}"):
        source = vergence.open(uri)
        assert source.names == ["chair/a.off", "chair/a.xyz", *(f"table/many.npy:{i}" for i in range(3))]
        assert source.labels.tolist() == [0, 0, 1, 1, 1] and source.classes == ["chair", "table"]
        np.testing.assert_array_equal(source.sample(4).x.numpy(), (3 * CORNERS).astype(np.float32))
    again = vergence.open(source.uri)
    assert again.names == source.names


def test_suffixes_in_capitals_are_read_as_well(tmp_path):
    write(tmp_path, CORNERS, "a.off").rename(tmp_path / "A.OFF")
    write(tmp_path, CORNERS, "b.off")
    assert vergence.open(tmp_path).names == ["A.OFF", "b.off"]


def test_tagraph_learns_from_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "shapes.npy", rng.normal(size=(5, 30, 3)))
    run = vergence.learn("tagraph", tmp_path / "shapes.npy", out=tmp_path / "run", quiet=True, bins=3, dim=4)
    assert vergence.load(run.path).vectors.shape == (5, 4)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.off", b"COFF 3 1 0", "does not begin with OFF"),
        ("x.off", b"OFF\n9 0 0\n0 0 0\n", "no readable .off"),
        ("x.off", b"OFF\n", "no readable .off"),
        ("x.ply", b"ply\nformat ascii 1.0\n", "no header of PLY"),
        ("x.ply", b"ply\nformat ascii 1.0\nelement face 1\nend_header\n", "first element is not vertex"),
        ("x.ply", ply(CORNERS, "binary_little_endian")[:-40], "no readable .ply"),
        ("x.xyz", b"1 2 three\n", "no readable .xyz"),
        ("x.xyz", b"1 2 3\n4 5 nan\n7 8 9\n", "3 or more finite points"),
        ("x.obj", b"f 1 2 3\n", "3 or more finite points"),
        ("x.npy", b"no array", "no readable .npy"),
        ("x.txt", b"1 2 3\n", "holds no shapes"),
    ],
)
def test_bad_files_are_said_in_one_line_that_names_them(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=said) as error:
        vergence.open(f"points:{tmp_path / name}")
    assert "\n" not in str(error.value) and name in str(error.value)


def test_pickles_missing_files_and_mixed_widths_are_refused(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadInput, match="no readable .npy"):
        vergence.open(tmp_path / "evil.npy")
    with pytest.raises(BadInput, match="Nothing found"):
        vergence.open(f"points:{tmp_path}/none.off")
    (tmp_path / "mixed").mkdir()
    np.save(tmp_path / "mixed" / "a.npy", CORNERS)
    np.save(tmp_path / "mixed" / "b.npy", CORNERS[:, :2])
    with pytest.raises(BadInput, match=r"a.npy has 3 coordinates a point and b.npy another"):
        vergence.open(tmp_path / "mixed")
