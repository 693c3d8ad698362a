import json

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.core.errors import BadInput
from vergence.core.modality import find_modality
from vergence.data import open as open_source
from vergence.evaluate.baselines import untrained
from vergence.evaluate.protocols.finetune import finetune
from vergence.evaluate.score import Score
from vergence.evaluate.table import Table, measure
from vergence.methods.image.encoders import build
from vergence.methods.image.raw import RawPixels


class Shapes(nn.Module):
    """A stand-in for a trained encoder: shrunk pixels, whitened by hand."""

    out_dim, input_spec = 64, {"size": 8}

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, batch):
        pixels = batch.pixels if hasattr(batch, "pixels") else batch
        grey = pixels.float().mean(1) / (255 if pixels.dtype == torch.uint8 else 1)
        return self.layer(nn.functional.adaptive_avg_pool2d(grey, 8).flatten(1))


@pytest.fixture(scope="module")
def digits():
    return open_source("digits").subset(np.arange(600))


def without_labels(source):
    source = source.subset(np.arange(len(source)))
    source.labels = None
    return source


def test_measure_holds_the_encoder_against_pixels_and_its_untrained_self(digits):
    table = measure(Shapes(), digits, quiet=True)
    assert list(table.rows) == ["raw pixels", "untrained encoder", "learned"]
    wanted = ["k-NN", "linear", "1 label", "5 labels", "20 labels", "mAP", "cluster acc", "NMI"]
    assert table.columns == wanted
    for row in table.rows.values():
        for score in row.values():
            assert 0 <= score.low <= score.value <= score.high <= 1
    assert table["learned"]["k-NN"].above(Score(0.5, 0.5, 0.5, 1))
    assert table.about["train"] + table.about["test"] == 600
    assert table.about["held_out"] is True


def test_measure_holds_the_encoder_against_raw_columns_and_its_untrained_self(tmp_path):
    source, out = find_modality("tables").load("example_source")(), tmp_path / "run"
    run = vergence.learn(
        "vicreg", source, out=out, epochs=1, quiet=True, encoder_options={"dim": 16, "layers": 2}
    )
    table = vergence.measure(run, source, quiet=True)
    assert list(table.rows) == ["raw features", "untrained encoder", "learned"]
    assert {"boosted trees", "boosted trees, AUC", "linear", "linear, AUC", "k-NN"} <= set(table.columns)


def test_measure_repeats_itself_and_leaves_the_random_state_alone(digits):
    encoder, state = Shapes(), torch.get_rng_state()
    first = measure(encoder, digits, protocols=["knn", "few_shot_knn"], seed=3, quiet=True)
    assert torch.equal(state, torch.get_rng_state())
    second = measure(encoder, digits, protocols=["knn", "few_shot_knn"], seed=3, quiet=True)
    assert first.rows == second.rows


def test_measure_judges_by_the_test_source_alone(digits):
    train, test = digits.subset(np.arange(400)), digits.subset(np.arange(400, 600))
    table = measure(Shapes(), train, test=test, protocols=["knn"], quiet=True)
    assert table["learned"]["k-NN"].n == 200
    assert table.about["held_out"] is False


def test_vergence_measure_can_be_called_and_holds_the_protocols(digits):
    assert vergence.measure(Shapes(), digits, protocols=["knn"], quiet=True).columns == ["k-NN"]
    from vergence.evaluate import knn, retrieval

    assert callable(knn) and callable(retrieval)


def test_measure_leaves_out_shots_that_the_smallest_class_does_not_have(digits):
    rows = np.concatenate([np.flatnonzero(digits.labels == c)[:10] for c in range(10)])
    table = measure(Shapes(), digits.subset(rows), protocols=["few_shot"], quiet=True)
    assert table.columns == ["1 label", "5 labels"]


def test_measure_says_what_is_missing(digits):
    with pytest.raises(
        BadInput, match="measure needs labels; digits has none: nest images in one folder a class"
    ):
        measure(Shapes(), without_labels(digits))
    with pytest.raises(BadInput, match="2 or more classes; every label of digits is the same"):
        measure(Shapes(), digits.subset(np.flatnonzero(digits.labels == 3)))
    with pytest.raises(BadInput, match="Unknown protocol 'kn'; did you mean 'knn'"):
        measure(Shapes(), digits, protocols=["kn"])


def test_untrained_is_the_same_architecture_with_other_weights_of_the_seed():
    encoder = build("resnet-tiny", size=16)
    fresh, again, other = (untrained(encoder, "image", seed=s) for s in (1, 1, 2))
    name = next(n for n, p in encoder.named_parameters() if p.ndim > 1)
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in encoder.parameters()]
    assert torch.equal(fresh.get_parameter(name), again.get_parameter(name))
    assert not torch.equal(fresh.get_parameter(name), other.get_parameter(name))
    assert not torch.equal(fresh.get_parameter(name), encoder.get_parameter(name))


def test_untrained_resets_an_encoder_of_the_users_own():
    encoder = Shapes()
    assert not torch.equal(untrained(encoder, "image").layer.weight, encoder.layer.weight)
    assert torch.equal(encoder.layer.weight, torch.eye(64))


def test_raw_pixels_are_the_photo_itself(digits):
    batch = next(iter(digits.loader(4)))
    side = batch.pixels.shape[-1]
    assert torch.allclose(RawPixels(side)(batch), batch.pixels.float().div(255).flatten(1))


def test_raw_pixels_are_resized_in_full_precision(digits):
    batch = next(iter(digits.loader(4)))
    with torch.autocast("cpu", torch.bfloat16):
        seen = RawPixels(16)(batch)
    assert torch.equal(seen, RawPixels(16)(batch))


@pytest.fixture
def table():
    score = Score(0.632, 0.623, 0.641, 100, "k=20")
    rows = {"raw pixels": {"k-NN": score}, "learned": {"k-NN": score, "mAP": score}}
    return Table(rows, {"source": "digits", "train": 70, "test": 30})


def test_table_renders_every_row_and_column(table):
    text = str(table)
    for part in (
        "digits: 70 labelled samples, 30 to judge by",
        "k-NN",
        "mAP",
        "raw pixels",
        "learned",
        "63.2",
    ):
        assert part in text
    assert table.to_markdown().splitlines() == [
        "|  | k-NN | mAP |",
        "| --- | ---: | ---: |",
        "| raw pixels | 63.2 [62.3, 64.1] | - |",
        "| learned | 63.2 [62.3, 64.1] | 63.2 [62.3, 64.1] |",
    ]


def test_table_comes_back_from_its_file(table, tmp_path):
    assert Table.load(table.save(tmp_path / "new" / "table.json")) == table
    assert json.loads(table.to_json())["rows"]["learned"]["mAP"]["value"] == 0.632
    assert table.save(tmp_path / "table.md").read_text() == table.to_markdown()


def test_table_says_what_it_cannot_do(table, tmp_path):
    with pytest.raises(BadInput, match=r"saved as .json or .md; got table.xls"):
        table.save(tmp_path / "table.xls")
    with pytest.raises(BadInput, match="Unknown row 'learnt'; did you mean 'learned'"):
        table["learnt"]


def test_finetune_beats_the_frozen_start_and_leaves_the_encoder_alone(digits):
    encoder = build("resnet-tiny", size=8)
    before = [p.clone() for p in encoder.parameters()]
    train, test = digits.subset(np.arange(300)), digits.subset(np.arange(300, 600))
    score = finetune(encoder, train, test, epochs=4, lr=3e-3, batch_size=32)
    assert score.value > 0.4
    assert score.n == 300 and score.note.startswith("300 labels")
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


def test_finetune_uses_the_share_of_labels_it_is_given(digits):
    score = finetune(build("resnet-tiny", size=8), digits, digits, epochs=1, labels_share=0.1)
    expected = sum(n - round(0.9 * n) for n in np.bincount(digits.labels))
    assert score.note == f"{expected} labels, 1 epochs"
    assert 50 < expected < 70


def test_finetune_says_what_is_missing(digits):
    with pytest.raises(BadInput, match="Fine-tuning needs labels; digits has none"):
        finetune(Shapes(), without_labels(digits), digits)
    with pytest.raises(ValueError, match=r"labels_share in \(0, 1\], got 0"):
        finetune(Shapes(), digits, digits, labels_share=0)


def test_turns_are_measured_without_labels(tmp_path):
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(40):
        pixels = random.uniform(60, 120, (16, 16, 3))
        pixels[:8] += 90  # lit from above
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
    encoder = build("resnet-tiny", size=16, width=8)
    table = measure(encoder, tmp_path, protocols=["rotation"], quiet=True)
    assert table.columns == ["turns"] and "28 samples, 12" in " ".join(str(table).split())
    assert table["raw pixels"]["turns"].value == 1
    with pytest.raises(BadInput, match="needs labels"):
        measure(encoder, tmp_path, protocols=["rotation", "knn"], quiet=True)


def test_copies_are_looked_for_without_labels_and_judged_by_micro_ap(tmp_path):
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(64):
        pixels = random.integers(0, 255, (4, 4, 3)).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
    encoder = build("resnet-tiny", size=16, width=8)
    table = measure(encoder, tmp_path, test=tmp_path, protocols=["copies"], quiet=True)
    assert table.columns == ["copies, micro-AP", "copies, normalised"]
    assert 0.2 < table["raw pixels"]["copies, micro-AP"].value <= 1
    few = open_source(tmp_path).subset(np.arange(9))
    with pytest.raises(BadInput, match="15 or more to judge by"):
        measure(encoder, tmp_path, test=few, protocols=["copies"], quiet=True)


def test_neighbours_and_a_linear_head_are_blended(digits):
    table = measure(Shapes(), digits, protocols=["knn", "knn_linear"], quiet=True)
    assert table.columns == ["k-NN", "k-NN and linear"]
    assert table["raw pixels"]["k-NN and linear"].value > 0.9


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"rows": [], "about": {}}', '{"rows": {"a": {"b": {"value": "x"}}}, "about": {}}'],
)
def test_a_table_that_is_none_is_one_line(text, tmp_path):
    (tmp_path / "measure.json").write_text(text)
    with pytest.raises(BadInput, match="measure.json is not a table that measure wrote") as error:
        Table.load(tmp_path / "measure.json")
    assert "\n" not in str(error.value)
