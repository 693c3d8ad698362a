"""Files become checked graphs, or one clear line."""

import collections
import json
import os
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import vergence
from vergence.benchmarks.stress.hostile import planetoid_parts
from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.hetero import neighbour_lists
from vergence.data.graph.pickles import safe_unpickle


def pairs_of(graph):
    return set(map(tuple, graph.edge_index.T.tolist()))


def test_undirected_edges_are_there_both_ways_once_and_sorted():
    graph, notes = build(Edges(np.array([[0, 1, 0, 2, 1], [1, 0, 1, 2, 2]]), 3), "t")
    assert graph.edge_index.tolist() == [[0, 1, 1, 2, 2], [1, 0, 2, 1, 2]]
    assert notes == [
        "1 duplicate edges were joined",
        "1 edges that were written both ways count once",
        "1 self-loops are kept",
    ]


def test_weights_of_duplicates_add_up_but_not_those_of_the_two_directions():
    edges = Edges(np.array([[0, 0, 1, 1], [1, 1, 0, 2]]), 3, {"edge_weight": np.array([1.0, 2.0, 3.0, 5.0])})
    graph, _ = build(edges, "t")
    weight = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.edge_weight.tolist(), strict=True))
    assert weight == {(0, 1): 3.0, (1, 0): 3.0, (1, 2): 5.0, (2, 1): 5.0}


def test_directed_edges_keep_their_direction():
    graph, _ = build(Edges(np.array([[2, 0], [1, 1]]), 3, directed=True), "t")
    assert graph.edge_index.tolist() == [[0, 2], [1, 1]]


@pytest.mark.parametrize(
    ("edges", "x", "said"),
    [
        (Edges(np.array([[0, 1], [1, 7]]), 3), None, "edge 2 joins nodes 1 and 7, but there are 3 nodes"),
        (Edges(np.array([[0], [-1]]), 3), None, "joins nodes 0 and -1"),
        (Edges(np.empty((2, 0)), 0), None, "no nodes"),
        (Edges(np.empty((2, 0)), 1), None, "one node only"),
        (Edges(np.array([[0], [1]]), 2), np.array([[0.0], [np.nan]]), "the first is node 1"),
        (Edges(np.array([[0], [1]]), 2, {"edge_weight": np.array([np.inf])}), None, "weight of edge 1"),
    ],
)
def test_what_cannot_be_a_graph_is_said_in_one_line(edges, x, said):
    with pytest.raises(BadInput, match=said) as error:
        build(edges, "here", x=x)
    assert str(error.value).startswith("here") and "\n" not in str(error.value)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/vergence-was-here",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("thing", [Evil(), os.system, np.random.default_rng, np.load, vergence.BadInput])
def test_hostile_pickles_are_refused(thing, protocol, tmp_path):
    with pytest.raises(BadInput, match="refused"):
        safe_unpickle(pickle.dumps(thing, protocol), tmp_path / "ind.cora.x")
    assert not os.path.exists("/tmp/vergence-was-here")


def test_arrays_sparse_matrices_and_lists_are_read(tmp_path):
    matrix = sp.csr_matrix(np.eye(3, dtype=np.float32))
    lists = collections.defaultdict(list, {0: [1, 2], 1: [0]})
    for thing in (matrix, lists, np.arange(6).reshape(2, 3)):
        read = safe_unpickle(pickle.dumps(thing, 2), tmp_path)
        same = (read != matrix).nnz == 0 if sp.issparse(thing) else np.array_equal(read, thing)
        assert same


def test_broken_pickles_are_one_line(tmp_path):
    with pytest.raises(BadInput, match="refused"):
        safe_unpickle(pickle.dumps(np.arange(100), 2)[:50], tmp_path)


def test_lists_of_neighbours_are_unpickled_with_care(tmp_path):
    rows = np.empty(2, object)
    rows[:] = [np.array([3, 4]), np.array([1])]
    np.save(tmp_path / "nei_a.npy", rows, allow_pickle=True)
    assert neighbour_lists(tmp_path / "nei_a.npy").tolist() == [[0, 0, 1], [3, 4, 1]]
    rows[0] = Evil()
    np.save(tmp_path / "nei_a.npy", rows, allow_pickle=True)
    with pytest.raises(BadInput, match="refused"):
        neighbour_lists(tmp_path / "nei_a.npy")


def test_an_edge_list_names_its_nodes_in_order_of_numbers(tmp_path):
    (tmp_path / "a.edgelist").write_text("# said nothing\n1 2\n2 10\n10 1\n")
    (tmp_path / "a.labels").write_text("1 x\n10 y\n")
    source = vergence.open(tmp_path / "a.edgelist")
    assert list(source.names) == ["1", "2", "10"]
    assert source.labels.tolist() == [0, -1, 1] and source.classes == ["x", "y"]
    assert pairs_of(source.data) == {(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)}


def test_an_edge_list_of_words_and_weights(tmp_path):
    (tmp_path / "a.edgelist").write_text("ann,bob,2.5\nbob,cid,1\n")
    source = vergence.open(tmp_path / "a.edgelist")
    assert list(source.names) == ["ann", "bob", "cid"]
    assert source.csr.neighbours(1).tolist() == [0, 2] and source.csr.weights.tolist() == [2.5, 2.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.edgelist", "a b\nc\n", "line 2 has not 2 entries"),
        ("a.edgelist", "a b x\n", "weights must be numbers"),
        ("a.edgelist", "\n# nothing\n", "no lines with edges"),
        ("a.gml", "graph [", "cannot be read"),
        ("a.graphml", "<graphml", "cannot be read"),
        ("a.gml", 'graph [ node [ id 0 label "a" ] node [ id 1 label "b" ] ]', "2 nodes without edges"),
        ("a.mat", "no", "no usable MATLAB file"),
    ],
)
def test_unreadable_files_are_said_in_one_line(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said) as error:
        vergence.open(tmp_path / name)
    assert "\n" not in str(error.value)


def test_graphml_keeps_weights_and_clubs(tmp_path):
    import networkx as nx

    nx.write_graphml(nx.karate_club_graph(), tmp_path / "k.graphml")
    source = vergence.open(tmp_path / "k.graphml")
    assert (
        len(source) == 34 and source.data.num_edges == 156 and sorted(source.classes) == ["Mr. Hi", "Officer"]
    )
    assert pairs_of(source.data) == pairs_of(vergence.open("karate").data)


def test_hyperedges_and_their_cliques(tmp_path):
    (tmp_path / "h.txt").write_text("a b c\nb c\nd a d\n")
    source = vergence.open(f"hyper:{tmp_path}/h.txt")
    assert source.data.hyperedge_index.tolist() == [[0, 1, 2, 1, 2, 0, 3], [0, 0, 0, 1, 1, 2, 2]]
    want = {(0, 1), (0, 2), (1, 2), (0, 3)}
    assert pairs_of(source.data) == want | {(b, a) for a, b in want}


def test_a_growing_graph_shows_what_was_there_by_then(tmp_path):
    (tmp_path / "t.csv").write_text("u,v,t\n1,2,7\n2,3,1\n1,2,9\n3,4,2\n2,1,5\n")
    source = vergence.open(f"temporal:{tmp_path}/t.csv")
    assert source.times.tolist() == [1, 2, 5]
    assert [g.num_edges // 2 for g in (source.until(1), source.until(2), source.until(9))] == [1, 2, 3]
    assert torch.equal(source.snapshots(3)[-1].edge_index, source.data.edge_index)


def roads(folder, **changed):
    """Write five roads in GraphSAGE's layout: a path 30-10-20-40 and 50 alone."""
    nodes = [{"id": i, "val": i == 20, "test": i == 40} for i in (10, 20, 30, 40, 50)]
    links = [{"source": a, "target": b} for a, b in ((30, 10), (10, 20), (20, 40))]
    parts = {
        "G": {"directed": False, "nodes": nodes, "links": links},
        "id_map": {"10": 4, "20": 3, "30": 2, "40": 1, "50": 0},
        "class_map": {"10": 7, "20": 7, "30": 2, "40": 2, "50": 7},
    }
    for part, what in {**parts, **changed}.items():
        (folder / f"roads-{part}.json").write_text(json.dumps(what))
    np.save(folder / "roads-feats.npy", np.arange(10.0).reshape(5, 2))
    return f"graphsage:{folder}/roads"


def test_roads_in_the_layout_of_graphsage(tmp_path):
    source = vergence.open(roads(tmp_path))
    assert pairs_of(source.data) == {(2, 0), (0, 2), (0, 1), (1, 0), (1, 3), (3, 1)}
    assert source.x[:, 0].tolist() == [8, 6, 4, 2, 0]
    assert source.names == ["10", "20", "30", "40", "50"]
    assert source.labels.tolist() == [1, 1, 0, 0, 1] and source.classes == ["2", "7"]
    (split,) = source.splits("graphsage")
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 2, 4], [1], [3])


def test_links_of_graphsage_may_be_places_and_classes_marks(tmp_path):
    nodes = [{"id": name} for name in ("a", "b", "c")]
    source = vergence.open(
        roads(
            tmp_path,
            G={"nodes": nodes, "links": [{"source": 0, "target": 2}]},
            id_map={"a": 0, "b": 1, "c": 2},
            class_map={"a": [1, 0], "b": [1, 1], "c": [0, 0]},
        )
    )
    assert pairs_of(source.data) == {(0, 2), (2, 0)}
    assert source.values.tolist() == [[1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"G": {"nodes": [{"id": 1}]}}, "does not list nodes and links with ids"),
        ({"G": []}, "does not list nodes and links with ids"),
        ({"G": {"nodes": [{"id": 1}, {"id": 1}], "links": []}}, "has a node twice"),
        ({"G": {"nodes": [], "links": []}}, "a graph of no nodes"),
        ({"id_map": {"10": 0}}, "do not name the same nodes"),
        ({"id_map": {"10": 9, "20": 3, "30": 2, "40": 1, "50": 0}}, "rows that it does not have"),
        ({"class_map": {"10": 1, "20": [1], "30": 2, "40": 2, "50": 7}}, "do not name the same nodes"),
    ],
)
def test_what_is_wrong_in_the_layout_of_graphsage_is_one_line(changed, said, tmp_path):
    with pytest.raises(BadInput, match=said) as error:
        vergence.open(roads(tmp_path, **changed))
    assert "\n" not in str(error.value)


def test_features_that_are_records_and_places_beyond_64_bits_are_one_line(tmp_path):
    uri = roads(tmp_path)
    np.save(tmp_path / "roads-feats.npy", np.zeros(5, [("a", "<i8"), ("b", "<f8")]))
    with pytest.raises(BadInput, match="roads-feats.npy holds no numbers"):
        vergence.open(uri)
    links = [{"source": 0, "target": 2**70}]
    with pytest.raises(BadInput, match="do not name the same nodes"):
        vergence.open(roads(tmp_path, G={"nodes": [{"id": n} for n in (10, 20, 30, 40, 50)], "links": links}))


def test_the_features_of_any_graph_can_be_scaled(tmp_path):
    uri = f"scaled:{roads(tmp_path)}"
    source = vergence.open(uri)
    assert source.uri == uri and source.in_dim == 2
    assert source.x[:, 0].tolist() == pytest.approx([8 / 17, 6 / 13, 4 / 9, 2 / 5, 0])
    np.save(tmp_path / "roads-feats.npy", np.zeros((5, 2)))
    assert (vergence.open(uri).x == 0).all()
    np.save(tmp_path / "roads-feats.npy", -np.eye(5))
    with pytest.raises(BadInput, match="roads: features below 0 cannot be scaled to sum to 1"):
        vergence.open(uri)
    for name in ("", "digits", "scaled:karate"):
        with pytest.raises(BadInput, match=f"scaled:{name} names no graph to scale; write scaled:planetoid"):
            vergence.open(f"scaled:{name}")
    assert (vergence.open("scaled:karate").x.sum(1) == 1).all()


def typed(folder, **changed):
    """Write two papers and three authors in HeCo's layout."""
    wrote = np.array([[1, 1, 0], [0, 1, 1]])
    arrays = {"labels": np.array([0, 1]), "nei_a": np.array([[0, 1], [1, 2]]), **changed}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    matrices = {"pap": wrote @ wrote.T, "p_feat": np.array([[3, 1], [0, 2]]), "a_feat": 2 * np.eye(3)}
    for name, matrix in matrices.items():
        sp.save_npz(folder / f"{name}.npz", sp.csr_array(matrix))
    return f"hetero:{folder}"


def test_features_of_every_type_are_scaled(tmp_path):
    source = vergence.open(f"scaled:{typed(tmp_path)}")
    assert source.x.tolist() == source.hetero["p"].x.tolist() == [[0.75, 0.25], [0, 1]]
    assert torch.equal(source.hetero["a"].x, torch.eye(3))


@pytest.mark.parametrize("labels", [["a", "b"], [0.5, 1], [np.nan, 1], [[0, 1]]])
def test_labels_of_typed_graphs_are_whole_numbers(labels, tmp_path):
    with pytest.raises(BadInput, match=r"labels.npy is not a list of whole numbers, but \("):
        vergence.open(typed(tmp_path, labels=np.array(labels)))


def test_cora_and_citeseer_are_those_of_the_papers(data_root):
    if not (data_root / "planetoid").is_dir():
        pytest.skip("no planetoid")
    for name, shape in (
        ("cora", (2708, 1433, 10556, 7)),
        ("citeseer", (3327, 3703, 9104, 6)),
    ):
        source = vergence.open(f"planetoid:{data_root}/planetoid/{name}")
        loops = int((source.data.edge_index[0] == source.data.edge_index[1]).sum())
        result = (len(source), source.in_dim, source.data.num_edges - loops, len(source.classes))
        assert result == shape
        (split,) = source.splits("public")
        assert (len(split.train), len(split.val), len(split.test)) == (20 * shape[3], 500, 1000)
        assert (np.bincount(source.labels[split.train]) == 20).all()
        assert (source.labels[np.concatenate([split.val])] >= 0).all()
    assert (source.labels < 0).sum() == 15 and (source.x[source.labels < 0] == 0).all()


def test_test_rows_far_beyond_the_features_are_refused_before_room_is_made(tmp_path):
    for name, raw in {**planetoid_parts(), "ind.toy.test.index": b"7\n6\n50000000\n"}.items():
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(BadInput, match="its parts do not fit each other"):
        vergence.open(f"planetoid:{tmp_path}/toy")


def test_tu_sets_are_batched_as_they_lie(data_root):
    if not (data_root / "tu").is_dir():
        pytest.skip("no tu")
    source = vergence.open(f"tu:{data_root}/tu/MUTAG")
    assert (len(source), source.in_dim, len(source.ptr)) == (188, 7, 189)
    batch = source.batch(np.array([5, 2]))
    for i, row in enumerate((5, 2)):
        one = source.sample(row)
        inside = batch.batch[batch.edge_index[0]] == i
        assert torch.equal(batch.edge_index[:, inside] - batch.ptr[i], one.edge_index)
        assert torch.equal(batch.x[batch.batch == i], one.x)
    assert batch.label.tolist() == source.labels[[5, 2]].tolist()


def small_tu(folder, **parts):
    """Write three graphs of an edge each, as a TU set."""
    wanted = {"A": "1,2\n3,4\n5,6\n", "graph_indicator": "1\n1\n2\n2\n3\n3\n", **parts}
    (folder / "S").mkdir()
    for part, text in wanted.items():
        (folder / "S" / f"S_{part}.txt").write_text(text)
    return vergence.open(f"tu:{folder}/S")


def test_numbers_to_predict_are_not_cut_to_classes(tmp_path):
    source = small_tu(tmp_path, graph_labels="0.3\n0.7\n-1.5\n")
    assert source.labels is None and source.targets == ("values",)
    assert source.values.tolist() == [[0.3], [0.7], [-1.5]]
    assert source.batch(np.array([1])).target.tolist() == [[pytest.approx(0.7)]]


def test_classes_and_numbers_to_predict_may_stand_side_by_side(tmp_path):
    source = small_tu(tmp_path, graph_labels="1\n-1\n1\n", graph_attributes="0.5, 2\n0.25, 3\n0, 4\n")
    assert source.labels.tolist() == [1, 0, 1] and source.classes == ["-1", "1"]
    assert source.values.tolist() == [[0.5, 2], [0.25, 3], [0, 4]]


@pytest.mark.parametrize("text", ["\ufeffsmiles,y\nCCO,1\nnone,2\nCC,3\n", "y;smiles\n1;CCO\n2;none\n3;CC\n"])
def test_tables_of_molecules_may_have_a_mark_and_semicolons(tmp_path, text):
    pytest.importorskip("rdkit")
    (tmp_path / "m.csv").write_text(text)
    source = vergence.open(f"smiles:{tmp_path}/m.csv:y")
    assert source.values[:, 0].tolist() == [1, 3] and len(source.skipped.reasons) == 1


def test_acm_has_its_meta_paths_and_splits(data_root):
    if not (data_root / "hetero" / "acm").is_dir():
        pytest.skip("no acm")
    source = vergence.open(f"hetero:{data_root}/hetero/acm")
    assert source.paths == ["pap", "psp"] and source.protocols[:3] == ["heco-20", "heco-40", "heco-60"]
    assert [len(source.splits(f"heco-{k}")[0].train) for k in (20, 40, 60)] == [60, 120, 180]
    authors = source.hyperedges("a")
    joined = sp.csr_array((np.ones(authors.shape[1]), authors), shape=(4019, 7167))
    shared = (joined @ joined.T).tocoo()
    paths = {(a, b) for a, b in zip(shared.row.tolist(), shared.col.tolist(), strict=True)}
    assert paths == pairs_of(source.hetero["p", "pap", "p"])
