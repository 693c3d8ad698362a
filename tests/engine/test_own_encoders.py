"""Networks of the user's own: what they are given, how wide they are, how their runs are opened again."""

import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import vergence
from vergence.core import BadInput, Features
from vergence.core.specs import own_class
from vergence.evaluate.baselines import untrained
from vergence.methods.image.own import PixelEncoder
from vergence.methods.pairs.simclr import SimCLR
from vergence.nets.image_encoder import ImageEncoder

FAST = {"epochs": 1, "batch_size": 64, "quiet": True}
SEEN = []


class Plain(nn.Module):
    """Finds its own width, and takes pixels in their usual order for granted."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3, 2), nn.LazyLinear(6)

    def forward(self, pixels):
        SEEN.append((type(pixels), pixels.shape[1:], pixels.dtype, float(pixels.min()), float(pixels.max())))
        return self.last(self.conv(pixels).relu().view(len(pixels), -1))


class Map(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 2)

    def forward(self, pixels):
        return self.conv(pixels)


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(range(128))


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("given", [Plain, Plain(), f"{__name__}:Plain"], ids=["class", "made", "name"])
def test_a_plain_network_gets_pixels_and_its_run_is_opened_again(given, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Plain.__module__])
    SEEN.clear()
    run = vergence.learn("simclr", digits, encoder=given, out=tmp_path / "run", **FAST)
    assert {kind[:3] for kind in SEEN} == {(torch.Tensor, (3, 16, 16), torch.float32)}
    assert all(0 <= low <= high <= 1 for *_, low, high in SEEN)
    assert run.encoder.out_dim == 6 and isinstance(run.encoder.net, Plain)
    for opened in (vergence.load(tmp_path / "run"), vergence.load(tmp_path / "run", encoder=Plain)):
        assert same(opened, run.encoder)
    batch = next(digits.loader(8))
    torch.testing.assert_close(opened(batch).pooled, run.encoder.eval()(batch).pooled)


def test_a_map_has_its_mean_for_a_vector_and_tokens(digits):
    net = Map().eval()
    encoder = vergence.encoder(net, digits, size=12)
    batch = torch.rand(3, 3, 12, 12)
    seen = encoder(batch)
    torch.testing.assert_close(seen.pooled, net(batch).mean((2, 3)))
    torch.testing.assert_close(seen.map, net(batch))
    assert vergence.tokens(encoder, batch).grid == tuple(net(batch).shape[2:])
    assert vergence.explain(encoder, np.zeros((12, 12, 3), np.uint8), np.ones((12, 12, 3), np.uint8))


def test_options_of_a_class_are_kept_and_of_one_that_is_made_unknown(digits, tmp_path):
    named = vergence.learn(
        "vicreg", digits, encoder=Map, encoder_options={"width": 7}, out=tmp_path / "named", **FAST
    )
    assert named.config.encoder["own"]["width"] == 7 and vergence.load(tmp_path / "named").out_dim == 7
    made = vergence.learn("vicreg", digits, encoder=Map(7), out=tmp_path / "made", **FAST)
    with pytest.raises(BadInput, match=r"your own Map: pass it again, load\(run, encoder=...\)"):
        vergence.load(tmp_path / "made")
    for given in (Map(7), made.encoder):
        assert same(vergence.open_run(tmp_path / "made", encoder=given).encoder, made.encoder)
    with pytest.raises(BadInput, match="does not fit this encoder"):
        vergence.load(tmp_path / "made", encoder=Map(3))


def test_a_class_that_is_not_imported_or_is_installed_is_not_loaded(digits, tmp_path, monkeypatch):
    vergence.learn("simclr", digits, encoder=Plain, out=tmp_path, **FAST)
    monkeypatch.delitem(sys.modules, Plain.__module__)
    with pytest.raises(
        BadInput, match=rf"own {Plain.__module__}:Plain: import .* first .*, or pass it again"
    ):
        vergence.load(tmp_path)
    for place in ("torch.nn:Linear", "no.such:Net", "json:JSONDecoder"):
        with pytest.raises(BadInput, match="a folder does not choose what code is loaded"):
            own_class(place)


def test_a_broken_off_run_goes_on_with_the_class(digits, tmp_path, monkeypatch):
    whole = vergence.learn("simclr", digits, encoder=Plain, out=tmp_path / "whole", **FAST | {"epochs": 2})
    step_end = SimCLR.step_end

    def stop(self, clock):
        if clock.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(SimCLR, "step_end", stop)
    options = {**FAST, "epochs": 2, "save_every": 1}
    with pytest.raises(KeyboardInterrupt):
        vergence.learn("simclr", digits, encoder=Plain, out=tmp_path / "run", **options)
    monkeypatch.setattr(SimCLR, "step_end", step_end)
    assert same(vergence.resume(tmp_path / "run", source=digits, quiet=True).encoder, whole.encoder)


def test_a_network_of_ones_own_is_embedded_measured_and_wrapped_by_a_method(digits, tmp_path):
    net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    store = vergence.embed(net, digits, tmp_path / "s.lance")
    assert store.width() == 48 and store.about["models"]["vector"] == "Sequential"
    assert vergence.measure(Map(), digits, protocols=["knn"], quiet=True)["untrained encoder"]
    method = SimCLR(vergence.encoder(Map, digits), dim=8)
    assert vergence.learn(method, digits, out=tmp_path / "run", **FAST).encoder.out_dim == 5


def test_the_untrained_network_is_drawn_anew_or_left_out(digits):
    for net in (Map(3), vergence.encoder(Map, digits, width=3).net):
        encoder = vergence.encoder(net, digits)
        fresh = untrained(encoder, "image", seed=1)
        assert fresh.out_dim == 3 and not same(fresh, encoder)

    class Drawn(Map):
        def __init__(self, width):
            super().__init__(width)
            self.scale = nn.Parameter(torch.ones(()))

    assert untrained(vergence.encoder(Drawn(3), digits), "image") is None


class Known(ImageEncoder):
    """Derives from the library's class, so that it gets batches and views."""

    def __init__(self, *, size):
        super().__init__(size=size)
        self.out_dim, self.layer = 3, nn.Linear(3, 3)

    def forward(self, images, *, need=()):
        assert not isinstance(images, torch.Tensor)
        return Features(self.layer(self.pixels(images).mean((2, 3))))


def test_a_class_that_derives_from_the_librarys_gets_batches(digits, tmp_path):
    run = vergence.learn("simclr", digits, encoder=Known(size=8), out=tmp_path, **FAST)
    assert isinstance(run.encoder, Known) and same(
        vergence.load(tmp_path, encoder=Known(size=8)), run.encoder
    )


class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, pixels):
        return self.answer(pixels)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: x[0, 0] @ x[0, 0, :3], r"Answers cannot read pixels \(2, 3, 8, 8\), .*: RuntimeError: "),
        (lambda x: x.pixels, "AttributeError: 'Tensor' object has no attribute 'pixels'"),
        (lambda x: (x.flatten(1), x), "returned a tuple of Tensor, Tensor; .* Return the vectors alone"),
        (lambda x: {"pooled": x.flatten(1)}, r"returned a dict of pooled; an encoder returns one vector"),
        (
            lambda x: x.flatten(2),
            r"a tensor \(2, 3, 64\) of float32; .* or a map .* for instance by .mean\(1\)",
        ),
        (lambda x: x.mean(), r"a tensor \(\) of float32; .* a float tensor \(2, D\)"),
        (lambda x: x.flatten(1)[:1], r"a tensor \(1, 192\) of float32"),
        (lambda x: (x.flatten(1) > 0).long(), r"a tensor \(2, 192\) of int64"),
        (lambda x: None, "returned nothing"),
        (lambda x: x.flatten(1).numpy(), "returned a ndarray"),
    ],
)
def test_what_is_no_encoder_of_images_is_one_line(answer, said, digits):
    with pytest.raises(BadInput, match=said) as error:
        vergence.encoder(Answers(answer), digits, size=8)
    assert "\n" not in str(error.value) and len(str(error.value)) < 350


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (Map, {"depth": 3}, "The encoder Map cannot be made: TypeError: .*depth"),
        (Map(3), {"width": 3}, "This Map is made already: say its width where it is made"),
        (dict, {}, "An encoder is a name or a torch.nn.Module, made or as a class; got dict"),
        (3, {}, "An encoder is a name or a torch.nn.Module, made or as a class; got int"),
    ],
)
def test_what_cannot_be_made_is_one_line(given, options, said, digits, tmp_path):
    with pytest.raises(BadInput, match=said):
        vergence.learn("simclr", digits, encoder=given, encoder_options=options, out=tmp_path / "run", **FAST)


def test_a_network_needs_the_data_that_it_is_to_read():
    with pytest.raises(BadInput, match=r"needs the data that it is to read: encoder\(net, source\)"):
        vergence.encoder(Map())


class Rows(nn.Module):
    def __init__(self, in_dim):
        super().__init__()
        self.layer = nn.Linear(in_dim, 4)

    def forward(self, rows):
        return self.layer(rows)


def people(count=64):
    drawn = np.random.default_rng(0)
    ages = [None if i == 3 else float(age) for i, age in enumerate(drawn.integers(20, 60, count))]
    return pa.table({"age": ages, "pay": drawn.normal(size=count), "town": list("ab" * (count // 2))})


def test_a_network_reads_rows_of_a_table(tmp_path):
    run = vergence.learn("vicreg", people(), encoder=Rows, out=tmp_path / "run", **FAST)
    assert run.encoder.net.layer.in_features == 2 + 1 + 16  # numbers, the flag of age, a category's vector
    opened = vergence.load(tmp_path / "run")
    batch = next(vergence.open(people()).loader(8))
    torch.testing.assert_close(opened(batch), run.encoder(batch))
    assert not same(untrained(run.encoder, "tables", seed=1), run.encoder)
    lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 3))
    assert (
        vergence.learn("vicreg", people(), encoder=lazy, out=tmp_path / "lazy", **FAST).encoder.out_dim == 3
    )
    with pytest.raises(BadInput, match=r"Linear cannot read rows \(2, 19\), float32: 2 numbers, 1 flags"):
        vergence.encoder(nn.Linear(7, 2), people())


class Messages(nn.Module):
    """As PyG's networks are called."""

    def __init__(self, in_channels, width=4):
        super().__init__()
        self.layer = nn.Linear(in_channels, width)

    def forward(self, x, edge_index):
        heard = torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]])
        return self.layer(x + heard)


class Whole(nn.Module):
    """Answers for whole graphs."""

    def __init__(self, in_dim):
        super().__init__()
        self.layer = nn.Linear(in_dim, 3)

    def forward(self, graph):
        total = graph.x.new_zeros(graph.num_graphs, graph.x.shape[1]).index_add(0, graph.batch, graph.x)
        return self.layer(total)


def test_a_network_reads_graphs_as_pygs_do(tmp_path):
    run = vergence.learn("grace", "karate", encoder=Messages, epochs=2, out=tmp_path / "run", quiet=True)
    assert run.encoder.net.layer.in_features == vergence.open("karate").in_dim
    batch = next(vergence.open("karate").loader(34))
    torch.testing.assert_close(vergence.load(tmp_path / "run")(batch).pooled, run.encoder(batch).pooled)
    assert not same(untrained(run.encoder, "graph", seed=1), run.encoder)
    with pytest.raises(BadInput, match="name the arguments of its forward x and edge_index to get these"):
        vergence.encoder(nn.Linear(3, 3), "karate")


def test_a_network_reads_sets_of_graphs_by_nodes_or_whole():
    nodes = torch.arange(4)
    ring = {"edge_index": torch.stack([nodes, (nodes + 1) % 4]), "num_nodes": 4}

    graphs = vergence.open([Data(x=torch.rand(4, 2), **ring) for _ in range(5)])
    batch = next(graphs.loader(5))
    by_nodes, whole = vergence.encoder(Messages, graphs), vergence.encoder(Whole, graphs)
    assert whole(batch).pooled.shape == (5, 3)
    summed = by_nodes.net(batch.x, batch.edge_index).view(5, 4, -1).sum(1)
    torch.testing.assert_close(by_nodes(batch).pooled, summed)


class Latest(nn.Module):
    """Means over the events that are there."""

    def __init__(self, in_dim):
        super().__init__()
        self.layer = nn.Linear(in_dim, 3)

    def forward(self, events, lengths):
        return self.layer(events.sum(1) / lengths[:, None])


def test_a_network_reads_event_histories(tmp_path):
    rows = "".join(
        f"{u},{10 * t},{(u * t) % 7}.5,{'xy'[t % 2]}\n" for u in range(40) for t in range(1 + u % 5, 9)
    )
    (tmp_path / "log.csv").write_text(f"user,ts,amount,kind\n{rows}")
    log = vergence.open(tmp_path / "log.csv", id="user", time="ts")
    run = vergence.learn("vicreg", log, encoder=Latest, out=tmp_path / "run", **FAST)
    batch = next(log.loader(4))
    torch.testing.assert_close(vergence.load(tmp_path / "run")(batch), run.encoder(batch))
    assert not same(untrained(run.encoder, "events", seed=1), run.encoder)
    with pytest.raises(BadInput, match=r"GRU returned a tuple of Tensor, Tensor"):
        vergence.encoder(nn.GRU(run.encoder.width, 4, batch_first=True), log)


def test_a_network_of_pixels_stays_one_when_it_is_moved():
    encoder = PixelEncoder(Map(), size=8).to(memory_format=torch.channels_last)
    assert encoder.net.conv.weight.is_contiguous()
