import pytest

from vergence.benchmarks.tasks import GENERATED, Metric, Task, generated, images, opened
from vergence.core import BadInput


def test_missing_images_are_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("VERGENCE_DATA", str(tmp_path))
    with pytest.raises(BadInput, match=r"needs cifar10/train.parquet.*set VERGENCE_DATA") as error:
        images("cifar10", train=10, test=10).data(0)
    assert "\n" not in str(error.value)


def test_missing_graphs_are_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("VERGENCE_DATA", str(tmp_path))
    with pytest.raises(BadInput, match=r"set VERGENCE_DATA to where planetoid:x/cora lies.$") as error:
        opened("planetoid:x/cora").data(0)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_the_same_images_are_used_every_time(monkeypatch, tmp_path, digits_parquet):
    monkeypatch.setenv("VERGENCE_DATA", str(tmp_path))
    task = images("few", train=5, test=3)
    (train, test), (again, _) = task.data(0), task.data(1)
    assert (len(train), len(test)) == (5, 3)
    assert list(train.labels) == list(again.labels)


@pytest.fixture
def digits_parquet(tmp_path):
    """Write ten rows to learn from and ten that judge, as the HF hub writes images."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    rows = [{"image": {"bytes": png.getvalue(), "path": f"{i}.png"}, "label": i} for i in range(10)]
    (tmp_path / "few").mkdir()
    for part in ("train", "val"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "few" / f"{part}.parquet")


def test_data_is_dealt_out_by_the_seed_from_the_whole_or_from_nothing():
    whole = Task("some", (), lambda: ("train", "test"), lambda source, seed: (source, seed))
    assert whole.data(3) == ("train", 3)
    assert Task("some", (), lambda: ("train", "test")).data(3) == ("train", "test")
    made = generated(lambda source, seed: (source, seed))
    assert (made.source, made.data(4)) == (GENERATED, (None, 4))
    with pytest.raises(ValueError, match="The task on nothing needs data"):
        Task("nothing", ())


def test_an_encoder_has_the_numbers_of_the_metrics_that_are_for_it():
    metrics = (
        Metric("sum", lambda encoder, train, test, seed: encoder + train + test + seed),
        Metric("never", lambda encoder, train, test, seed: None),
    )
    assert generated(lambda *_: (), *metrics).judge(1, 10, 100, 1000) == {"sum": 1111}
    with pytest.raises(ValueError, match="'own' has no protocol"):
        generated(lambda *_: (), Metric("own")).judge(1, 10, 100, 1000)


def test_own_numbers_of_an_arm_are_one_of_each_metric():
    task = generated(lambda *_: (), Metric("first"), Metric("second"))
    assert task.scores(0.5, 0.25) == {"first": 0.5, "second": 0.25}
    with pytest.raises(ValueError, match="zip"):
        task.scores(0.5)
