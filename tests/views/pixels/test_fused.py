import subprocess
import sys
import threading

import pytest
import torch

from vergence.data.image.batch import ImageBatch
from vergence.views.pixels import augment, fused, geometry
from vergence.views.pixels.augment import Augment, plain


def photos(n, height, width, seed=0):
    g = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, height, width, 3), dtype=torch.uint8, generator=g)
    return ImageBatch(pixels.permute(0, 3, 1, 2), torch.arange(n), torch.full((n,), -1))


def both(monkeypatch, make, batch, seed=0):
    """The same views in one pass and step by step."""
    quick = make(batch, torch.Generator().manual_seed(seed))
    with monkeypatch.context() as patch:
        patch.setattr(augment, "one_pass", lambda pixels: False)
        return quick, make(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(32, 32, 32), (40, 60, 32), (60, 40, 8), (7, 9, 32), (1, 1, 8), (96, 90, 80)],
)
def test_one_pass_gives_the_views_of_the_steps(monkeypatch, height, width, size):
    batch = photos(40, height, width)
    for seed in range(3):  # three orders of the jitter
        make = Augment(size, scale=(0.05, 1), blur=0.5 if size >= 20 else 0.0, solarize=0.3)
        quick, slow = both(monkeypatch, make, batch, seed)
        for name in ("box", "flip", "angle", "matrix"):
            assert torch.equal(getattr(quick, name), getattr(slow, name))
        assert quick.pixels.is_contiguous(memory_format=torch.channels_last)
        # positions near 100 pixels are kept to 1e-5, by either way
        assert (quick.pixels - slow.pixels).abs().max() < 5e-5
        assert (quick.pixels - slow.pixels).abs().mean() < 1e-6


def test_one_pass_without_jitter_and_with_each_change_alone(monkeypatch):
    batch = photos(24, 48, 48)
    quiet = {"jitter_p": 0.0, "grey": 0.0, "blur": 0.0, "flip": 0.0}
    strong = {"jitter_p": 1.0, **{k: v for k, v in quiet.items() if k != "jitter_p"}}
    seen = []
    for options in (
        quiet,
        {**quiet, "flip": 1.0},
        {**quiet, "grey": 1.0},
        {**quiet, "blur": 1.0},
        {**quiet, "solarize": 1.0},
        {**strong, "jitter": (0.9, 0, 0, 0)},
        {**strong, "jitter": (0, 0.9, 0, 0)},
        {**strong, "jitter": (0, 0, 0.9, 0)},
        {**strong, "jitter": (0, 0, 0, 1 / 6)},
    ):
        quick, slow = both(monkeypatch, Augment(48, **options), batch)
        assert torch.allclose(quick.pixels, slow.pixels, atol=2e-5)
        seen.append(quick.pixels)
    assert all((other - seen[0]).abs().mean() > 1e-3 for other in seen[1:])  # each does something


def test_threads_and_memory_layout_do_not_change_a_bit(monkeypatch):
    batch = photos(37, 32, 32)
    make = Augment(32, solarize=0.2)

    def draw(pixels, threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        same = ImageBatch(pixels, batch.index, batch.label)
        return make(same, torch.Generator().manual_seed(1)).pixels

    alone = draw(batch.pixels, 1)
    assert torch.equal(alone, draw(batch.pixels, 3))
    assert torch.equal(alone, draw(batch.pixels.contiguous(), 2))


def test_a_fault_in_a_helping_thread_is_raised(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    turned = threading.Barrier(2)

    def work(start, stop):
        turned.wait(10)  # both threads are at it
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fused.share_out(work, 2)


def test_plain_is_the_resized_centre(monkeypatch):
    batch = photos(5, 50, 70)
    boxes = geometry.centre_boxes(torch.tensor([[50, 70]]).expand(5, 2))
    assert torch.allclose(plain(batch, 24), geometry.resized_crop(batch.pixels, boxes, 24), atol=2e-5)


def test_an_empty_batch_gives_no_views():
    out = fused.views(torch.zeros((0, 3, 8, 8), dtype=torch.uint8), torch.zeros(0, 4), 8)
    assert out.shape == (0, 3, 8, 8)


def test_importing_the_kinds_of_views_does_not_import_numba():
    program = "import sys, vergence.methods.image.views; print('numba' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"
