"""The worlds of woven and threaded cells hold what their records say, and arms differ in that alone."""

import numpy as np
import pytest
import torch

from vergence.benchmarks.record import find_record
from vergence.benchmarks.records import distill, heurpt, ijepa, sit
from vergence.data import ImageBatch
from vergence.methods.image.encoders import build


def grey(source):
    return source.reader.pixels.astype(np.float64).mean(-1) / 255 - 0.5


def cells(pixels, side):
    """Cut pictures ``(n, S, S)`` in cells about zero: ``(n, cells, side²)``."""
    n, size = pixels.shape[:2]
    parts = pixels.reshape(n, size // side, side, size // side, side).transpose(0, 1, 3, 2, 4)
    parts = parts.reshape(n, -1, side * side)
    return parts - parts.mean(2, keepdims=True)


def correlation(a, b):
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_no_cell_of_a_weave_tells_of_another_one_s_pixels_but_of_their_squares(monkeypatch):
    for name, value in (("DETAIL", 0.1), ("LEVEL", 0.0), ("NOISE", 0.0)):
        monkeypatch.setattr(ijepa, name, value)
    train, test = ijepa.weaves(None, 0)
    parts = cells(grey(train), ijepa.CELL)
    first, second = parts[:, 0], parts[:, 9]
    assert correlation(first, second) < 0.03
    assert correlation(first**2, second**2) > 0.1
    assert len(train) == len(test) == ijepa.COUNT and set(test.labels) == set(range(ijepa.KINDS))


def arms_of(key):
    """Make the methods of a mechanism's trained arms, all from one seed, and their encoders' weights."""
    for name, arm in find_record(key).mechanism.arms.items():
        if getattr(arm, "method", None) is not None:
            torch.manual_seed(0)
            training = arm.training
            encoder = build(training.encoder, size=training.size, **training.options)
            yield name, arm.method(encoder), training


def test_targets_are_all_that_differs_between_the_arms_of_i_jepa():
    (_, paper, first), (_, pixels, second) = arms_of("ijepa")
    assert first == second and paper.draw == pixels.draw and paper.momentum == pixels.momentum
    for one, other in zip(paper.encoder.parameters(), pixels.encoder.parameters(), strict=True):
        assert torch.equal(one, other)
    batch = ImageBatch(torch.randint(0, 256, (8, 3, 16, 16)).byte(), torch.arange(8), torch.zeros(8))
    seen = []
    for method in (paper, pixels):
        torch.manual_seed(1)
        seen.append(method.views(batch))
    assert torch.equal(seen[0].pixels, seen[1].pixels) and torch.equal(seen[0].blocks, seen[1].blocks)
    assert torch.allclose(seen[0].pixels, batch.pixels / 255, atol=1e-5)  # as they are: cells are patches
    assert paper.target.width == 48 and pixels.target.width == 3 * ijepa.CELL**2


def test_looks_have_their_weave_in_common_and_their_wave_goes_on_from_cell_to_cell(monkeypatch):
    for name, value in (("NOISE", 0.0), ("WAVE", 0.0), ("DETAIL", 0.1)):
        monkeypatch.setattr(sit, name, value)
    pairs, _ = sit.woven_waves(None, 0)
    first, second = np.split(grey(pairs), 2, 2)
    one, other = cells(first, sit.CELL)[:, 3], cells(second, sit.CELL)[:, 12]
    assert correlation(one, other) < 0.03 and correlation(one**2, other**2) > 0.1
    monkeypatch.setattr(sit, "DETAIL", 0.0)
    monkeypatch.setattr(sit, "WAVE", 0.1)
    pairs, _ = sit.woven_waves(None, 0)
    first, second = np.split(grey(pairs), 2, 2)
    power = [np.abs(np.fft.fft2(look - look.mean((1, 2), keepdims=True))) ** 2 for look in (first, second)]
    strongest = np.sort(power[0].reshape(len(power[0]), -1), 1)[:, -8:].sum(1) / power[0].sum((1, 2))
    assert strongest.mean() > 0.8  # one wave over the whole look
    same = power[0].reshape(len(power[0]), -1).argmax(1) == power[1].reshape(len(power[1]), -1).argmax(1)
    assert same.mean() < 0.3  # drawn anew in the other look


def test_sit_s_views_are_the_two_looks_with_whole_cells_spoilt():
    paper = next(method for name, method, _ in arms_of("sit") if name == "paper")
    pixels = torch.randint(0, 256, (4, 3, 16, 32)).byte()
    views = paper.views(ImageBatch(pixels, torch.arange(4), torch.zeros(4)))
    assert torch.equal(torch.cat([view.clean for view in views], 3), pixels / 255)
    holes = views[0].mask.unfold(1, sit.CELL, sit.CELL).unfold(2, sit.CELL, sit.CELL).float().mean((3, 4))
    assert set(holes.unique().tolist()) == {0.0, 1.0}


def test_threads_are_in_one_look_alone_and_no_cell_tells_of_another_one_s(monkeypatch):
    for name in ("DETAIL", "WAVE", "NOISE"):
        monkeypatch.setattr(sit, name, 0.0)
    pairs, (probed, judged) = heurpt.threaded(None, 0)
    pixels = pairs.reader.pixels.astype(np.float64)
    first, second = np.split(pixels[..., 0] - pixels[..., 2], 2, 2)
    one, other = cells(first, sit.CELL), cells(second, sit.CELL)
    assert correlation(one, np.roll(one, 1, 1)) < 0.03 and correlation(one, other) < 0.03
    power = [(part**2).mean((1, 2)) for part in (one, other)]
    assert correlation(*power) < 0.08  # which threads there are is drawn anew
    assert correlation((one[:, :8] ** 2).mean((1, 2)), (one[:, 8:] ** 2).mean((1, 2))) > 0.3
    tags = pairs.target("tags")
    assert tags.known.float().mean().item() == pytest.approx(heurpt.TAGGED * heurpt.NOTED, abs=0.03)
    assert not tags.values[~tags.known].any()
    noted = tags.known.all(1).numpy()
    count = tags.values.sum(1).numpy()[noted]
    assert power[0][noted][count == 0].max() < 1  # no thread, no colour
    assert np.corrcoef(count, power[0][noted])[0, 1] > 0.8  # tags are of the first look
    assert probed.target("tags").known.all() and judged.target("tags").known.all()


def test_parts_are_all_that_differs_between_the_arms_of_heurpt():
    made = list(arms_of("heurpt"))
    assert {name: method.parts for name, method, _ in made} == {
        "paper": ("tags", "repair", "contrast"),
        "no tags": ("repair", "contrast"),
        "no repair": ("tags", "contrast"),
        "no contrast": ("tags", "repair"),
    }
    pixels = torch.randint(0, 256, (4, 3, 16, 32)).byte()
    for _, method, training in made:
        views = method.views(ImageBatch(pixels, torch.arange(4), torch.zeros(4)))
        assert torch.equal(torch.cat([view.pixels for view in views.pair], 3), pixels / 255)
        assert torch.equal(views.photo.pixels, views.pair[0].pixels)
        assert method.weights == made[0][1].weights and training == made[0][2]
        for one, other in zip(made[0][1].encoder.parameters(), method.encoder.parameters(), strict=True):
            assert torch.equal(one, other)


def test_the_teacher_names_single_gratings_and_a_crop_says_nothing_of_another():
    four, (single, _) = distill.gratings(None, 0)
    teacher = distill.Energies()

    def told(pixels):
        return teacher(torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2) / 255)

    assert (told(single.reader.pixels).argmax(1).numpy() == single.reader.labels).mean() > 0.9
    quarters = [told(four.reader.pixels[:, rows, :16]) for rows in (slice(0, 16), slice(16, 32))]
    same = (quarters[0].argmax(1) == quarters[1].argmax(1)).float().mean()
    assert same.item() == pytest.approx(1 / len(distill.KINDS), abs=0.05)
    assert set(single.labels) == set(range(len(distill.KINDS)))


def test_another_crop_is_for_the_teacher_alone():
    made = {name: method for name, method, _ in arms_of("distill")}
    batch = ImageBatch(torch.randint(0, 256, (16, 3, 32, 32)).byte(), torch.arange(16), torch.zeros(16))
    for name, same in (("paper", True), ("another crop", False)):
        crops, target = made[name].views(batch)
        assert crops.shape == (16, 3, 16, 16)
        assert torch.allclose(made[name].teach(crops), target, atol=1e-5) == same
