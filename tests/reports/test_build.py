"""The page: complete in itself, true to its inputs, and deaf to what names try to smuggle in."""

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from torch import nn

import vergence
from vergence.core import RunConfig
from vergence.core.errors import BadInput
from vergence.data.source import Skipped
from vergence.engine.run import Run
from vergence.evaluate.score import Score
from vergence.evaluate.table import Table
from vergence.reports import report
from vergence.reports.build import command, duration
from vergence.reports.figures import Line, curve, intervals, ticks
from vergence.store.table import Store

EVIL = "<script>alert('x')</script>\"'&.png"


class Photos:
    uri, modality, label_name, root = "pets", "image", "class", ""
    classes = ["cat", EVIL]

    def __init__(self, n=60, labelled=True, readable=True):
        self.n, self.readable, self.skipped = n, readable, Skipped()
        self.labels = np.arange(n) % 2 if labelled else None
        self.names = [EVIL, *(f"{i}.png" for i in range(1, n))]
        if not labelled:
            self.classes = None

    def __len__(self):
        return self.n

    def store_columns(self, index):
        return {}

    def small_sample(self, i):
        return self.sample(i)

    def sample(self, i):
        if not self.readable:
            raise BadInput("no picture")
        return np.full((8, 8, 3), 4 * i, np.uint8)


@pytest.fixture
def run(tmp_path):
    """A made-up run folder."""
    path = tmp_path / "run"
    path.mkdir()
    config = {
        "command": "vergence learn simclr pets --epochs 4",
        "method": "simclr",
        "source": "photos/pets",
        "samples": 60,
        "encoder": {"name": "resnet-tiny", "size": 32},
        "epochs": 4,
        "batch_size": 16,
        "seconds": 75.2,
        "device": "CPU",
        "parameters": 1_200_000,
        "views": {},
        "versions": {"torch": "2.15.0"},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    rows = [f"{s},{s // 4},0.001,{5 / s},{4 / s},{1 / s},900" for s in range(1, 17)]
    (path / "metrics.csv").write_text(
        "step,epoch,lr,loss,pull,push,samples_per_second\n" + "\n".join(rows) + "\n"
    )
    rows = [f"{4 * e},{e},{0.2 + e / 10},{5 + e},0.1,-2," for e in range(5)]
    (path / "health.csv").write_text(
        "step,epoch,std,rankme,alignment,uniformity,note\n" + "\n".join(rows) + "\n"
    )
    (path / "skipped.csv").write_text(
        "name,reason\n" + "\n".join(f"bad{i}.jpg,truncated" for i in range(20)) + "\n"
    )
    return Run(path, nn.Identity())


def stored(run, **options):
    photos = Photos(**options)
    x = np.random.default_rng(0).standard_normal((len(photos), 6)).astype(np.float32)
    x[::2] += 4 * np.eye(6)[0]
    x[7] = x[5] * 2
    return Store.create(run.path / "embeddings.lance", photos, x)


def table():
    def scores(v):
        return {"k-NN": Score(v, v - 0.05, v + 0.05, 100), "NMI": Score(0.5, 0.4, 0.6, 100)}

    rows = {"raw pixels": scores(0.3), "untrained encoder": scores(0.4), "learned": scores(0.8)}
    return Table(rows, {"source": "pets", "train": 40, "test": 20})


class Elements(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [v for k, v in attrs if k == "id"]


def test_the_page_holds_what_it_was_given_and_nothing_from_elsewhere(run):
    path = report(run, "pets", store=stored(run), table=table())
    assert path == run.path / "report.html"
    text = path.read_text()
    page = Elements(text)
    assert {"scores", "training", "plane", "neighbours", "clusters", "copies", "skipped", "repeat"} <= set(
        page.ids
    )
    assert len(page.ids) == len(set(page.ids))
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "srcset"):
            value = attributes.get(name) or ""
            away = tag == "a" and value.startswith("https://arxiv.org/")
            assert away or not value or value.startswith(("data:image/", "#")), (tag, value)
    assert "url(" not in text and "@import" not in text
    assert "A Simple Framework for Contrastive Learning" in text and "1 min 15 s" in text
    assert "vergence learn simclr pets --epochs 4" in text and "2.15.0" in text
    assert "in 1 of 2 measures" in text and "80.0" in text and "75.0 – 85.0" in text
    assert text.count("truncated") == 12 and "20 samples" in text
    assert sum(tag == "polyline" for tag, _ in page.tags) >= 7
    assert sum("data-i" in attributes for _, attributes in page.tags) == 60


def test_names_from_outside_stay_text(run):
    text = report(run, "pets", store=stored(run), table=table()).read_text()
    assert "alert(" in text and "<script>alert" not in text
    assert sum(tag == "script" for tag, _ in Elements(text).tags) == 2


def test_without_labels_and_pictures_the_rest_is_there(run, tmp_path):
    text = report(
        run, "pets", store=stored(run, labelled=False, readable=False), out=tmp_path / "sub/r.html"
    ).read_text()
    assert "Scores need labels" in text and 'class="same"' not in text
    assert "<img" not in text and 'class="pic text"' in text


@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_a_handful_of_samples_is_enough(run, n):
    photos = Photos(n=n, labelled=False)
    store = Store.create(run.path / "few.lance", photos, np.eye(max(n, 2), dtype=np.float32)[:n])
    assert "Nearest neighbours" in report(run, "pets", store=store).read_text()


def test_collapse_is_said_at_the_top_of_training(run):
    path = run.path / "health.csv"
    path.write_text(path.read_text().rstrip("\n") + "Collapse: all samples get nearly the same embedding.\n")
    text = report(run, "pets", store=stored(run)).read_text()
    assert "Collapse: all samples" in text and "Healthy" not in text


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_collapsed_encoder_has_a_page_without_a_map(run, value):
    photos = Photos(n=12, labelled=False)
    store = Store.create(run.path / "same.lance", photos, np.full((12, 8), value, np.float32))
    text = report(run, "pets", store=store).read_text()
    assert "There is no map: all 12 vectors are alike" in text and 'id="points"' not in text


def test_a_store_without_copies_has_a_page_that_says_so(run, monkeypatch):
    none = {"total": 0, "chance": 0.0, "groups": 0, "surplus": 0, "pairs": []}
    monkeypatch.setattr("vergence.reports.build.copies", lambda subject: none)
    text = report(run, "pets", store=stored(run)).read_text()
    assert "are nearer each other than chance explains." in text


def test_a_table_of_constants_learns_and_has_a_page(tmp_path):
    (tmp_path / "same.csv").write_text("a,b,kind\n" + "1.5,2,x\n" * 40)
    source = f"table:{tmp_path}/same.csv"
    run = vergence.learn("vicreg", source, epochs=1, out=tmp_path / "run", quiet=True)
    assert "There is no map" in report(run, source).read_text()


def test_a_broken_store_leaves_the_old_page(run):
    (run.path / "report.html").write_text("old")
    with pytest.raises(BadInput, match="There is no store"):
        report(run, "pets", store=run.path / "none.lance")
    assert (run.path / "report.html").read_text() == "old"
    assert not [p for p in run.path.iterdir() if p.name.startswith(".")]


def test_a_run_from_python_is_repeated_in_python():
    config = RunConfig(
        method="vicreg",
        source="it's",
        encoder={"name": "vit-micro", "size": 32},
        size=32,
        epochs=3,
        views={"flip": 0.0},
        precision="bf16",
        seed=1,
        options={"covariance": 2.0},
    )
    seen = {}
    code = command(config).replace("import vergence as vg", "")
    recorder = type("vg", (), {"learn": staticmethod(lambda *a, **k: seen.update(k, args=a))})
    exec(code, {"vg": recorder})
    wanted = {"encoder": "vit-micro", "size": 32, "epochs": 3, "views": {"flip": 0.0}, "seed": 1}
    assert seen == {"args": ("vicreg", "it's"), "precision": "bf16", "covariance": 2.0, **wanted}


def test_curves_put_the_largest_value_highest_and_leave_gaps_out():
    svg = str(curve([Line("loss", [0, 1, 2], [3.0, float("nan"), 1.0])], label="Loss"))
    (points,) = re.findall(r'<polyline class="line l0 " points="([^"]+)"', svg)
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in points.split())
    assert x0 < x1 and y0 < y1, "a fall from 3 to 1 goes down the page"
    assert "Nothing was recorded" in curve([Line("loss", [0], [float("inf")])], label="Loss")


def test_intervals_are_drawn_to_scale():
    svg = str(intervals([("a", 0.5, 0.4, 0.6, 0), ("b<", 0.8, 0.7, 0.9, 9)], label="k-NN"))
    a, b = (tuple(map(float, m)) for m in re.findall(r'whisker l\d" x1="([\d.]+)" x2="([\d.]+)"', svg))
    middle = [float(v) for v in re.findall(r'class="dot l\d" cx="([\d.]+)"', svg)]
    assert a[0] < middle[0] < a[1] < b[0] < middle[1] < b[1]
    assert (b[0] - a[0]) == pytest.approx(3 * (a[1] - middle[0]), abs=0.3) and "b&lt;" in svg


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7.9), (0.001, 0.0017), (96.2, 96.3)])
def test_ticks_lie_inside_and_are_evenly_spaced(low, high):
    result = ticks(low, high)
    assert 2 <= len(result) <= 6 and low - 1e-9 <= result[0] and result[-1] <= high + 1e-9
    np.testing.assert_allclose(np.diff(result), result[1] - result[0], rtol=1e-6)


@pytest.mark.parametrize("value", [1e-4, 0.0, -3.0, 12_345.0])
@pytest.mark.parametrize("wobble", [0.0, 1e-9])
def test_the_axis_of_a_constant_has_one_tick_at_its_value(value, wobble):
    svg = str(curve([Line("lr", [0, 1, 2], [value, value * (1 + wobble), value])], label="Learning rate"))
    (tick,) = re.findall(r'<text class="tick end"[^>]*>([^<]*)</text>', svg)
    assert tick == {1e-4: "0.0001", 0.0: "0", -3.0: "-3", 12_345.0: "12.3k"}[value]
    (rule,) = re.findall(r'<line class="rule"[^>]* y1="([\d.]+)"', svg)
    (points,) = re.findall(r'points="([^"]+)"', svg)
    heights = {float(point.split(",")[1]) for point in points.split()}
    assert heights == {float(rule)} and 80 < float(rule) < 95, "it lies in the middle of the axis"


def test_ticks_of_a_narrow_range_can_be_told_apart():
    svg = str(curve([Line("lr", [0, 1], [0.30001, 0.30003])], label="Learning rate"))
    labels = re.findall(r'<text class="tick end"[^>]*>([^<]*)</text>', svg)
    assert len(labels) == len(set(labels)) > 1


def test_times_read_well():
    assert duration(None) == "unknown" and duration(59.6) == "1 min 0 s"


def test_the_page_needs_only_files_that_are_shipped():
    folder = Path(__import__("vergence.reports", fromlist=["x"]).__file__).parent
    assert {"report.html.j2", "report.css", "report.js"} <= {p.name for p in folder.iterdir()}
