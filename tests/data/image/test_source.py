import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vergence.core.errors import BadInput
from vergence.data import open as open_source
from vergence.data.loading import batches, order


def save(folder, n, *, sizes=((8, 8),), broken=(), kind="png"):
    """Picture i is grey of value i, so that pixels tell which one they are."""
    for i in range(n):
        path = folder / f"{i:04}.{kind}"
        if i in broken:
            path.write_bytes(b"this is not a picture")
        else:
            Image.new("L", sizes[i % len(sizes)], i % 256).save(path, quality=95)
    return folder


MIXED = ((8, 12), (16, 8), (9, 9))


@pytest.fixture(params=["small", "photos"])
def twenty(request, tmp_path):
    """Twenty pictures, of one size (decoded once) and of several (decoded as they are needed)."""
    return open_source(save(tmp_path, 20, sizes=MIXED if request.param == "photos" else ((8, 8),)))


def indices(stream):
    return [batch.index.tolist() for batch in stream]


def test_batches_hold_the_pictures_that_their_index_names(twenty):
    for batch in twenty.loader(6, shuffle=True, seed=3):
        assert batch.pixels.dtype == torch.uint8
        assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
        assert batch.pixels[:, 0, 0, 0].tolist() == batch.index.tolist()
        assert batch.label.tolist() == [-1] * len(batch)


def test_without_shuffle_the_order_is_that_of_the_source(twenty):
    assert indices(twenty.loader(8)) == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert indices(twenty.loader(8, drop_last=True)) == [list(range(8)), list(range(8, 16))]


def test_the_order_depends_on_seed_and_epoch_alone(twenty):
    first = indices(twenty.loader(7, shuffle=True, seed=1, epoch=2, workers=1))
    assert first == indices(twenty.loader(7, shuffle=True, seed=1, epoch=2, workers=3))
    assert sorted(sum(first, [])) == list(range(20))
    assert first != indices(twenty.loader(7, shuffle=True, seed=1, epoch=3))
    assert first != indices(twenty.loader(7, shuffle=True, seed=2, epoch=2))


def test_start_leaves_out_exactly_the_batches_already_done(twenty):
    every = list(twenty.loader(3, shuffle=True, seed=5))
    for start in (0, 1, 4, 7):
        rest = list(twenty.loader(3, shuffle=True, seed=5, start=start))
        assert len(rest) == 7 - start
        for a, b in zip(every[start:], rest, strict=True):
            assert a.index.equal(b.index)
            assert a.pixels.equal(b.pixels)


@pytest.mark.parametrize("shuffle", [False, True])
def test_processes_share_out_each_global_batch(twenty, shuffle):
    alone = indices(twenty.loader(6, shuffle=shuffle, seed=1))
    shares = [indices(twenty.loader(3, shuffle=shuffle, seed=1, rank=r, world=2)) for r in (0, 1)]
    assert [a + b for a, b in zip(*shares, strict=True)] == alone


def test_in_training_every_process_takes_as_many_steps_with_as_many_samples():
    for n in (1, 5, 16, 17, 31):
        sizes = [
            [len(s) for s in batches(n, 4, fill=True, drop_last=False, start=0, rank=r, world=4)]
            for r in range(4)
        ]
        assert all(s == sizes[0] for s in sizes)
        assert 0 < sum(map(sum, sizes)) - n + 1 <= 4


def test_seeds_may_be_any_whole_number():
    assert sorted(order(9, shuffle=True, seed=-1)) == list(range(9))
    assert order(9, shuffle=True, seed=2**63).tolist() != list(range(9))


def test_photos_of_several_sizes_share_a_canvas_that_is_black_elsewhere(tmp_path):
    source = open_source(save(tmp_path, 3, sizes=((4, 9), (6, 5), (3, 3))))
    batch = next(source.loader(3))
    assert batch.pixels.shape == (3, 3, 9, 6)
    assert batch.sizes.tolist() == [[9, 4], [5, 6], [3, 3]]
    assert batch.pixels[1, :, :5, :6].unique().tolist() == [1]
    assert batch.pixels[1].sum() == 1 * 3 * 5 * 6


def test_photos_shrink_towards_the_size_that_views_need(tmp_path):
    for i, size in enumerate(((400, 300), (90, 200), (1000, 100))):
        Image.new("RGB", size, (i, i, i)).save(tmp_path / f"{i}.jpg", quality=95)
    source = open_source(tmp_path)
    assert next(source.loader(3, spec={"size": 50})).sizes.tolist() == [[75, 100], [200, 90], [50, 150]]
    assert next(source.loader(3)).sizes.tolist() == [[300, 400], [200, 90], [100, 300]]
    assert source.sample(0).shape == (300, 400, 3)


def test_a_set_of_one_size_is_not_kept_whole_where_views_need_far_less(tmp_path):
    source = open_source(save(tmp_path, 4, sizes=((64, 64),)))
    assert next(source.loader(4, spec={"size": 16})).pixels.shape == (4, 3, 16, 16)
    assert next(source.loader(4, spec={"size": 48})).pixels.shape == (4, 3, 64, 64)


def test_an_encoder_of_another_modality_is_told_so(twenty):
    with pytest.raises(BadInput, match="an encoder that asks for frames reads something else"):
        next(twenty.loader(4, spec={"size": 8, "frames": 16}))


def test_one_odd_picture_among_many_of_one_size_is_no_harm(tmp_path):
    source = open_source(save(tmp_path, 150))
    Image.new("L", (5, 3), 0).save(tmp_path / "0001.png")  # not among those that are looked at first
    seen = list(source.loader(50))
    assert [b.pixels.shape[2:] for b in seen] == [(8, 8)] * 3
    assert seen[0].sizes[1].tolist() == [3, 5]


def test_samples_can_be_written_to_without_spoiling_the_source(twenty):
    next(twenty.loader(20))
    twenty.sample(3)[:] = 99
    assert twenty.sample(3)[0, 0, 0] == 3


def test_later_epochs_decode_nothing_again(twenty, monkeypatch):
    def worn_out(i):
        raise OSError(f"{i} is read twice")

    first = list(twenty.loader(20, spec={"size": 8}))
    monkeypatch.setattr(twenty.reader, "read", worn_out)
    again = list(twenty.subset(range(20)).loader(20, spec={"size": 8}))
    assert again[0].pixels.equal(first[0].pixels)
    assert not twenty.skipped.reasons


@pytest.mark.parametrize("sizes", [((8, 8),), MIXED])
def test_one_in_a_hundred_broken_is_skipped_and_replaced_in_training(tmp_path, sizes):
    broken = {3, 77, 150}
    source = open_source(save(tmp_path, 300, sizes=sizes, broken=broken))
    kept = sum(indices(source.loader(32)), [])
    assert kept == [i for i in range(300) if i not in broken]
    assert set(source.skipped.reasons) == {f"{i:04}.png" for i in broken}
    assert set(source.skipped.reasons.values()) == {"not a picture in a known format"}
    full = indices(source.loader(32, shuffle=True, seed=1, drop_last=True))
    assert [len(b) for b in full] == [32] * 9
    assert [len(set(b)) for b in full] == [32] * 9
    assert not broken & set(sum(full, []))
    assert full[4:] == indices(source.loader(32, shuffle=True, seed=1, drop_last=True, start=4))
    with pytest.raises(BadInput, match=r"0003\.png in .* cannot be read: not a picture"):
        source.sample(3)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("limit", [0.5, 1.0])
def test_nothing_readable_at_all_is_one_clear_line(tmp_path, shuffle, limit):
    source = open_source(save(tmp_path, 12, broken=range(12)), limit=limit)
    with pytest.raises(
        BadInput, match=r"of 12 samples of .* cannot be read, for instance 00\d\d\.png: not a"
    ):
        list(source.loader(4, shuffle=shuffle))
    with pytest.raises(BadInput, match="cannot be read"):
        list(source.subset([1, 2]).loader(4, shuffle=shuffle))


@pytest.mark.parametrize("sizes", [((8, 8),), MIXED])
def test_more_broken_than_the_limit_stops_reading(tmp_path, sizes):
    save(tmp_path, 20, sizes=sizes, broken=range(0, 20, 4))
    assert sum(map(len, open_source(tmp_path, limit=0.25).loader(5))) == 15
    with pytest.raises(BadInput, match="up to 20% are skipped"):
        list(open_source(tmp_path, limit=0.2).loader(5))


def test_a_bomb_and_a_vanished_file_are_skipped_with_their_reasons(tmp_path, monkeypatch):
    source = open_source(save(tmp_path, 6, sizes=MIXED))
    (tmp_path / "0002.png").unlink()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    Image.new("L", (80, 80), 0).save(tmp_path / "0004.png")
    assert indices(source.loader(6)) == [[0, 1, 3, 5]]
    assert "No such file" in source.skipped.reasons["0002.png"]
    assert "decompression bomb" in source.skipped.reasons["0004.png"]


def test_threads_end_with_the_loop_however_it_ends(tmp_path):
    before = set(threading.enumerate())

    def readers():
        return set(threading.enumerate()) - before

    source = open_source(save(tmp_path, 40, sizes=MIXED))
    for _ in source.loader(4, workers=2):
        break
    stream = source.loader(4, workers=2)
    next(stream)
    assert readers()
    stream.close()
    assert not readers()

    def fail_at_the_first_batch():
        for _ in source.loader(4, workers=2):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail_at_the_first_batch()
    assert not readers()
    list(source.loader(4, workers=2))
    assert not readers()


def test_reading_ahead_is_bounded(tmp_path, monkeypatch):
    source = open_source(save(tmp_path, 60, sizes=MIXED))
    read, seen = source.reader.read, []
    stream = source.loader(4, workers=2)
    next(stream)
    monkeypatch.setattr(source.reader, "read", lambda i: seen.append(i) or read(i))
    for _ in range(3):
        next(stream)
    time.sleep(0.1)
    assert len(seen) <= 6 * 4
    stream.close()


def cifar():
    root = Path(os.environ.get("VERGENCE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    path = root / "cifar10" / "test.parquet"
    if not path.is_file():
        pytest.skip(f"CIFAR-10 is not at {path}")
    return path


def test_cifar_reads_whole_with_its_names_and_labels():
    source = open_source(cifar())
    assert len(source) == 10_000
    assert source.classes[3] == "cat"
    assert np.bincount(source.labels).tolist() == [1000] * 10
    part = source.subset(np.arange(0, 10_000, 100))
    batch = next(part.loader(64, shuffle=True, seed=1))
    assert batch.pixels.shape == (64, 3, 32, 32)
    for at in (0, 63):
        row = int(batch.index[at])
        raw = source.reader.read(row * 100)
        truth = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))
        assert (batch.pixels[at].permute(1, 2, 0).numpy() == truth).all()
        assert batch.label[at] == source.labels[row * 100]
