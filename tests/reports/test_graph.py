"""What the page says of graphs is what the graph holds."""

import base64
import html.parser
import math

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import vergence
from vergence.data.graph.build import Edges, build
from vergence.data.graph.pyg import Data
from vergence.data.graph.source import GraphsSource, NodeSource
from vergence.engine.run import Run
from vergence.methods.graph import encoders
from vergence.reports import report
from vergence.reports.graph import WHOLE, Graphs, Nodes, bins, entropies, subject
from vergence.reports.subject import Subject, subject_of
from vergence.store.table import Store
from vergence.use.clustering import clusters

EVIL = "<script>alert('x')</script>"


def stored(path, source):
    x = np.random.default_rng(0).standard_normal((len(source), 6)).astype(np.float32)
    return Store.create(path / "s.lance", source, x)


def shown(path, source, encoder=None):
    store = stored(path, source)
    return subject(store, clusters(store), source, encoder or nn.Identity())


@pytest.fixture
def karate():
    return vergence.open("karate")


@pytest.fixture
def neighbours(karate):
    source, target = karate.data.edge_index.tolist()
    result = [set() for _ in range(34)]
    for a, b in zip(source, target, strict=True):
        result[a].add(b)
    return result


def rings(count=6):
    """Rings of 3, 4, ... nodes with one loop in the first; features say which node is a ring's first."""
    pairs, ptr = [(0, 0)], [0]
    for size in range(3, 3 + count):
        pairs += [(ptr[-1] + i, ptr[-1] + (i + 1) % size) for i in range(size)]
        ptr.append(ptr[-1] + size)
    first = np.isin(np.arange(ptr[-1]), ptr)
    x = np.stack([first, ~first], 1).astype(np.float32)
    graphs, _ = build(Edges(np.array(pairs).T, ptr[-1]), "rings", x=x)
    return GraphsSource(graphs, np.array(ptr), "rings", labels=np.arange(count) % 2)


def test_degrees_and_bonds_are_those_of_the_graph(tmp_path, karate, neighbours):
    page = shown(tmp_path, karate)
    assert page.facts([0, 11]) == ["degree 16", "degree 1"]
    others = np.arange(1, 34)
    for row in (0, 11, 33):
        others = np.setdiff1d(np.arange(34), [row])
        for other, bond in zip(others.tolist(), page.bonds(row, others), strict=True):
            both = len(neighbours[row] & neighbours[other])
            expected = "linked" if other in neighbours[row] else f"{both} shared" if both else "apart"
            assert bond == expected


def test_lines_of_the_map_are_the_edges_among_its_points(tmp_path, karate, neighbours):
    rows = np.array([33, 0, 1, 2, 11])
    result = {tuple(sorted(rows[pair])) for pair in shown(tmp_path, karate).links(rows).T.tolist()}
    assert result == {(a, b) for a in rows for b in rows if a < b and b in neighbours[a]}
    assert shown(tmp_path / "all", karate).links(np.arange(34)).shape == (2, 78)


def test_rows_of_a_subset_are_told_as_themselves(tmp_path, karate):
    part = karate.subset([33, 5])
    page = shown(tmp_path, part)
    assert page.facts([0, 1]) == ["degree 17", "degree 4"] and page.bonds(0, np.array([1])) == ["apart"]


def test_degrees_are_summed_up_by_class(tmp_path, karate, neighbours):
    page = shown(tmp_path, karate)
    (section,) = page.sections()
    assert section.text.startswith("78 edges; neighbours of a node: mean 4.59, median 3, maximum 17;")
    degrees = np.array([len(result) for result in neighbours])
    for _, mean, group in page.by_group(degrees):
        own = [d for d, label in zip(degrees, karate.labels, strict=True) if label == group]
        assert mean == pytest.approx(sum(own) / len(own))
    assert {p.title for p in section.panels} == {"Degrees", "Mean degree by class", "Linked nodes and others"}


def test_without_labels_clusters_take_their_place_and_a_lone_node_is_drawn(tmp_path):
    graph, _ = build(Edges(np.array([[0, 1], [1, 2]]), 4), "test", x=np.eye(4, dtype=np.float32))
    page = shown(tmp_path, NodeSource(graph, "test"))
    (section,) = page.sections()
    assert "isolated nodes: 1." in section.text and page.word == "cluster"
    assert all(uri.startswith("data:image/svg+xml;base64,") for uri in page.portraits(range(4)))


@pytest.mark.parametrize(
    ("name", "layers"), [("gat", 2), ("vergence.methods.graph.supergat:AttentionNet", 2), ("gcn", 0)]
)
def test_attention_is_told_of_encoders_that_have_it(tmp_path, karate, name, layers):
    encoder = encoders.for_source(karate, name, width=8).eval()
    sections = [
        section for section in shown(tmp_path, karate, encoder).sections() if section.key == "attention"
    ]
    assert len(sections) == bool(layers)
    for section in sections:
        assert len(section.panels) == layers + 1
        assert all(0 < panel.last <= 1 + 1e-6 for panel in section.panels[:-1])
    for edges, shares in encoder.attention(karate.whole_graph()):
        summed = torch.zeros(34, shares.shape[1]).index_add(0, edges[1], shares.detach())
        torch.testing.assert_close(summed, torch.ones_like(summed))


def test_entropy_is_that_of_each_node_averaged_over_heads():
    edges = torch.tensor([[0, 1, 2, 3, 0], [0, 0, 0, 0, 1]])
    shares = torch.tensor([[0.25, 1.0], [0.25, 0.0], [0.25, 0.0], [0.25, 0.0], [1.0, 1.0]])
    entropy, heard = entropies(edges, shares, 3)
    np.testing.assert_allclose(entropy, [math.log(4) / 2, 0, 0], atol=1e-6)
    assert heard.tolist() == [4, 1, 0]


@pytest.mark.parametrize("values", [[0], [3, 3, 9], [1, 2, 5000], [0, 1_000_000]])
def test_every_number_falls_into_one_bin(values):
    borders = bins(np.array(values))
    assert (np.diff(borders) > 0).all() and borders[0] == min(values) and borders[-1] > max(values)
    assert np.histogram(values, borders)[0].sum() == len(values) and len(borders) < 60


def test_sizes_of_graphs_are_told_without_loops(tmp_path):
    page = shown(tmp_path, rings())
    assert isinstance(page, Graphs)
    assert page.facts([0, 5]) == ["3 nodes, 3 edges", "8 nodes, 8 edges"]
    (section,) = page.sections()
    assert section.text.startswith("6 graphs with 33 nodes and 33 edges")
    assert "a node: mean 2." in section.text
    assert page.by_group(page.nodes) == [("0", 5.0, 0), ("1", 6.0, 1)]


def test_nodes_of_a_kind_share_a_colour_and_large_graphs_are_cut(tmp_path):
    svg = base64.b64decode(shown(tmp_path, rings()).portraits([1])[0].partition(",")[2]).decode()
    assert sorted(part.count("h0") for part in svg.split("<path")[2:]) == [1, 3]
    n = WHOLE + 30
    star = Data(edge_index=torch.tensor([[0] * (n - 1), list(range(1, n))]), num_nodes=n)
    star.edge_index = torch.cat([star.edge_index, star.edge_index.flip(0)], 1)
    both = GraphsSource(star, np.array([0, n]), "star")
    svg = base64.b64decode(shown(tmp_path / "star", both).portraits([0])[0].partition(",")[2]).decode()
    assert svg.count("h0") == WHOLE and svg.count("L") == WHOLE - 1


def test_samples_that_the_source_lacks_are_shown_by_name(tmp_path, karate):
    store = stored(tmp_path, karate)
    known = {"modality": "graph", "encoder": nn.Identity()}
    assert type(subject_of(store, clusters(store), source=karate, **known)) is Nodes
    assert type(subject_of(store, clusters(store), source=karate.subset(range(9)), **known)) is Subject
    assert type(subject_of(store, clusters(store), source=None, **known)) is Subject


@pytest.mark.parametrize("kind", ["nodes", "graphs"])
def test_the_whole_page_of_a_graph(tmp_path, karate, kind):
    source = karate if kind == "nodes" else rings()
    source.names = [EVIL, *list(source.names)[1:]]
    config = {"method": "grace", "source": "karate", "modality": "graph", "encoder": {"name": "gcn"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for name, header in (("metrics", "step,epoch,loss"), ("health", "step,epoch,note")):
        (tmp_path / f"{name}.csv").write_text(f"{header}\n")
    path = report(Run(tmp_path, nn.Identity()), source, store=stored(tmp_path, source))
    text = path.read_text()
    assert f"{len(source)} {kind}" in text and 'id="graph"' in text and "data:image/svg+xml;base64," in text
    assert "<script>alert" not in text and "without any label" not in text and "None epochs" not in text
    seen = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.append((tag, dict(attrs)))
    parser.feed(text)
    ids = [attrs["id"] for _, attrs in seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    anchors = [attrs["href"][1:] for tag, attrs in seen if tag == "a" and attrs["href"].startswith("#")]
    assert set(anchors) <= set(ids) and "graph" in anchors
