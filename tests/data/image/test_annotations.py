"""Masks and boundaries beside pictures, as segmentation sets are laid out."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import vergence
from vergence.core.errors import BadInput
from vergence.data.targets import VOID


def lay_out(root, masks, *, pictures="photos", beside="masks", shape=(10, 14)):
    """Write a picture for every mask, and the masks that are not None."""
    for i, mask in enumerate(masks):
        folder = "cat" if i % 2 else "dog"
        for top in (pictures, beside):
            (root / top / folder).mkdir(parents=True, exist_ok=True)
        tall, wide = shape if mask is None else np.shape(mask)
        Image.new("RGB", (wide, tall), (i, 0, 0)).save(root / pictures / folder / f"{i}.png")
        if mask is not None:
            Image.fromarray(np.asarray(mask, np.uint8)).save(root / beside / folder / f"{i}.png")
    return root


def batch_of(source, *names, size=64):
    return next(source.with_targets(names, "this test").loader(size))


def test_masks_lie_on_the_pictures_of_their_names_with_void_for_what_is_not_known(tmp_path):
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 4, (8 + i, 12)) for i in range(4)]
    masks[2][0, 0] = 255
    masks[3] = None
    source = vergence.open(lay_out(tmp_path, masks, shape=(11, 12)))
    assert len(source) == 4 and source.targets == ("labels", "masks") and source.classes == ["cat", "dog"]
    assert source.notes == ["masks/ holds the masks of photos/"]
    batch = batch_of(source, "masks")
    result = batch.targets["masks"].classes
    for row, name in zip(range(4), source.names, strict=True):
        i = int(name.split("/")[1].split(".")[0])
        assert batch.pixels[row, 0, 0, 0] == i
        page = result[row].as_subclass(torch.Tensor)
        if masks[i] is None:
            assert (page == VOID).all()
        else:
            tall, wide = masks[i].shape
            expected = np.where(masks[i] == 255, VOID, masks[i])
            assert (page[:tall, :wide].numpy() == expected).all() and (page[tall:] == VOID).all()
    assert not source.skipped.reasons
    every = source.target("masks").classes
    assert torch.equal(every[:, : result.shape[1]], result[:, : every.shape[1]])


def test_files_of_0_and_255_alone_hold_two_classes(tmp_path):
    masks = [(np.random.default_rng(i).random((6, 6)) > 0.5) * 255 for i in range(3)]
    source = vergence.open(lay_out(tmp_path, masks, pictures="JPEGImages", beside="Annotations"))
    assert set(batch_of(source, "masks").targets["masks"].classes.unique().tolist()) == {0, 1}


def test_what_cannot_be_used_is_noted_and_counts_as_not_known(tmp_path):
    masks = [np.ones((6, 6)) for _ in range(4)]
    root = lay_out(tmp_path, masks)
    Image.new("L", (5, 6)).save(root / "masks/dog/0.png")
    (root / "masks/cat/1.png").write_bytes(b"this is not a picture")
    Image.new("RGB", (6, 6)).save(root / "masks/dog/2.png")
    source = vergence.open(root)
    classes = batch_of(source, "masks").targets["masks"].classes
    said = source.skipped.reasons
    assert "is 6 x 5 pixels, its picture 6 x 6" in said["masks/dog/0.png"]
    assert "cannot identify" in said["masks/cat/1.png"]
    assert "holds colours (RGB), not one class a pixel" in said["masks/dog/2.png"]
    assert sorted((page == VOID).all().item() for page in classes) == [False, True, True, True]


def test_folders_that_do_not_go_together_are_one_line_and_pictures_alone_stay_a_folder(tmp_path):
    lay_out(tmp_path, [np.ones((4, 4))] * 3)
    for path in (tmp_path / "masks").rglob("*.png"):
        path.rename(path.with_name(f"other-{path.name}"))
    with pytest.raises(
        BadInput, match="holds photos/ and masks/, but no .png or .mat file of masks/ has the name"
    ):
        vergence.open(tmp_path)
    assert len(vergence.open(tmp_path / "photos")) == 3


def test_boundaries_of_several_people_are_several_maps_of_one_picture(tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "images").mkdir()
    (tmp_path / "groundTruth").mkdir()
    drawn = [[rng.random((9, 7)) > 0.8 for _ in range(people)] for people in (3, 1)]
    for i, people in enumerate(drawn):
        Image.new("RGB", (7, 9)).save(tmp_path / f"images/{i}.png")
        cells = np.empty((1, len(people)), object)
        for k, one in enumerate(people):
            cells[0, k] = {"Boundaries": one.astype(np.uint8), "Segmentation": np.ones((9, 7), np.uint16)}
        savemat(tmp_path / f"groundTruth/{i}.mat", {"groundTruth": cells})
    result = batch_of(vergence.open(tmp_path), "boundaries").targets["boundaries"]
    assert result.of.tolist() == [0, 0, 0, 1]
    assert (result.maps.numpy() == np.stack([*drawn[0], *drawn[1]])).all()


def test_davis_and_bsds_are_read_as_they_are_published(data_root):
    clips = vergence.open(data_root / "davis2016").subset(np.arange(0, 600, 100))
    batch = batch_of(clips, "masks")
    classes = batch.targets["masks"].classes
    assert classes.shape[1:] == batch.pixels.shape[2:] and set(classes.unique().tolist()) <= {VOID, 0, 1}
    assert 0.01 < (classes == 1).float().mean() < 0.6
    photos = vergence.open(data_root / "bsds500").subset(np.arange(4))
    maps = batch_of(photos, "boundaries").targets["boundaries"]
    assert set(torch.bincount(maps.of).tolist()) <= set(range(4, 10))
    assert not photos.skipped.reasons and 0.005 < maps.maps.mean() < 0.1
