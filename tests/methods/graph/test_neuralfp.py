"""Neural fingerprints: the layer written as a loop, numbering, units, unknown targets, reload."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.graph.pyg import Data
from vergence.data.graph.source import GraphsSource
from vergence.engine import embed
from vergence.methods.graph.neuralfp import Convolution, Fingerprint, NeuralFP

CONTRACT = {
    "source": lambda: molecules(),
    "encoder": {"length": 16, "depth": 1, "width": 16},
    "options": {"hidden": 32},
    "two": {"": {"views": lambda method: method.views}},
    "exempt": {
        "labels": "predicts numbers, which no vote of classes judges; a test below asks whether it does"
    },
}


def molecules(count=40, seed=0, targets=True):
    """Trees with 5 atom and 3 bond features; the target counts bonds of one kind at atoms of one kind."""
    rng = np.random.default_rng(seed)
    x, pairs, bonds, ptr, y = [], [], [], [0], []
    for _ in range(count):
        n, start = int(rng.integers(3, 9)), ptr[-1]
        atoms, kind = np.eye(5)[rng.integers(0, 5, n)], np.eye(3)[rng.integers(0, 3, n - 1)]
        ends = np.stack([np.arange(1, n), [rng.integers(0, i) for i in range(1, n)]])
        x.append(atoms)
        pairs += [ends + start, ends[::-1] + start]
        bonds += [kind, kind]
        ptr.append(start + n)
        y.append([sum(atoms[ends[0], 0] * kind[:, 0]) + sum(atoms[ends[1], 0] * kind[:, 0])])
    edges, values = np.concatenate(pairs, 1), np.concatenate(bonds)
    order = np.lexsort((edges[1], edges[0]))
    graph = Data(
        x=torch.tensor(np.concatenate(x), dtype=torch.float32),
        edge_index=torch.from_numpy(edges[:, order]),
        edge_attr=torch.tensor(values[order], dtype=torch.float32),
    )
    return GraphsSource(graph, np.array(ptr), "trees", values=np.array(y) if targets else None)


def test_a_convolution_equals_the_formula_written_as_a_loop():
    torch.manual_seed(0)
    layer = Convolution(5, 4, 3, degrees=3).eval()
    graph = molecules(6).batch(np.arange(6))
    result = layer(graph.x, graph.edge_index, graph.edge_attr)
    for a in range(graph.num_nodes):
        columns = [k for k, i in enumerate(graph.edge_index[0].tolist()) if i == a]
        degree = min(len(columns), 2)  # the last weights are those of all higher degrees
        weights = layer.neighbours[:, 4 * degree : 4 * degree + 4]
        v = layer.own.weight @ graph.x[a]
        for k in columns:
            v = v + torch.cat([graph.x[graph.edge_index[1, k]], graph.edge_attr[k]]) @ weights
        torch.testing.assert_close(result[a], (v / (1 + layer.norm.eps) ** 0.5).relu())


def test_every_atom_adds_one_at_every_radius():
    encoder, graph = Fingerprint(5, 3, length=7, depth=2, width=4).eval(), molecules().batch(np.arange(40))
    writes = encoder.writes(graph)
    assert len(writes) == 3
    sizes = torch.diff(graph.ptr).float()
    torch.testing.assert_close(encoder(graph).pooled.sum(1), 3 * sizes)
    torch.testing.assert_close(encoder(graph).pooled[0], sum(w[: graph.ptr[1]].sum(0) for w in writes))


def test_the_numbering_of_atoms_and_the_order_of_bonds_do_not_matter():
    torch.manual_seed(0)
    encoder, graph = Fingerprint(5, 3, depth=3).eval(), molecules(1, seed=5).batch(np.arange(1))
    turn, shuffled = torch.randperm(graph.num_nodes), torch.randperm(graph.num_edges)
    other = graph.clone()
    other.x = graph.x[turn]
    other.edge_index = torch.argsort(turn)[graph.edge_index][:, shuffled]
    other.edge_attr = graph.edge_attr[shuffled]
    torch.testing.assert_close(encoder(other).pooled, encoder(graph).pooled)


def test_radius_is_as_far_as_an_atom_sees():
    graph = Data(
        x=torch.eye(5),
        edge_index=torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4], [1, 0, 2, 1, 3, 2, 4, 3]]),
        edge_attr=torch.ones(8, 3),
    )
    torch.manual_seed(1)
    encoder = Fingerprint(5, 3, length=16, depth=2, width=32).eval()
    graph.x.requires_grad_()
    for radius, written in enumerate(encoder.writes(graph)):
        (slope,) = torch.autograd.grad(written[0] @ torch.arange(16.0), graph.x, retain_graph=True)
        assert slope.abs().sum(1).nonzero().flatten().tolist() == list(range(radius + 1))


def test_bonds_can_be_left_out_and_then_say_nothing():
    graph = molecules(4).batch(np.arange(4))
    other = graph.clone()
    other.edge_attr = graph.edge_attr.roll(1, dims=1)
    for bond_dim, same in ((0, True), (3, False)):
        encoder = Fingerprint(5, bond_dim, depth=1).eval()
        assert torch.equal(encoder(graph).pooled, encoder(other).pooled) is same


def test_targets_are_standardised_by_what_is_learned_from_and_come_back_in_their_unit():
    source = molecules()
    part = source.subset(np.arange(30))
    method = NeuralFP(Fingerprint.for_source(part))
    method.setup(part)
    method.eval()
    assert method.centre.item() == pytest.approx(source.values[:30].mean())
    assert method.unit.item() == pytest.approx(source.values[:30].std())
    batch = source.batch(np.arange(40))
    off = (method.predict(batch)[:, 0].numpy() - source.values[:, 0]) / source.values[:30].std()
    assert method.loss(batch)["squared_error"].item() == pytest.approx(np.square(off).mean(), rel=1e-4)


def test_an_unknown_target_teaches_nothing():
    source = molecules(8)
    gaps = source.values.copy()
    gaps[:3] = np.nan
    method = NeuralFP(Fingerprint.for_source(source))
    gappy = GraphsSource(source.data, source.ptr, "gaps", values=gaps)
    method.setup(gappy)
    method.eval()
    result = method.loss(gappy.batch(np.arange(8)))["squared_error"]
    torch.testing.assert_close(result, method.loss(gappy.batch(np.arange(3, 8)))["squared_error"])


def test_what_it_cannot_learn_from_is_said():
    with pytest.raises(BadInput, match=r"numbers that are known of molecules.*smiles:FILE"):
        NeuralFP(Fingerprint(5, 3)).setup(molecules(targets=False))
    with pytest.raises(BadInput, match="6 bond features"):
        Fingerprint(5, 6)(molecules(2).batch(np.arange(2)))
    with pytest.raises(BadInput, match="built for 62 atom features; the graph has 5"):
        Fingerprint()(molecules(2).batch(np.arange(2)))
    with pytest.raises(BadInput, match="depth of 0 or more"):
        Fingerprint(5, 3, depth=-1)


def test_seconds_of_training_find_the_part_that_counts_and_a_run_is_loaded_again(tmp_path):
    source = molecules(200)
    held = GraphsSource(source.data, source.ptr, "held", values=source.values).subset(np.arange(150, 200))
    part = source.subset(np.arange(150))
    method = NeuralFP(Fingerprint.for_source(part, length=16, depth=1, width=16), hidden=32)
    run = vergence.learn(method, part, epochs=40, lr=0.01, batch_size=50, out=tmp_path / "run", quiet=True)
    method.eval()
    off = method.predict(held.batch(np.arange(50)))[:, 0].numpy() - held.values[:, 0]
    assert np.square(off).mean() < 0.5 * held.values.var()
    vectors = embed(run.encoder, held).vectors
    np.testing.assert_allclose(embed(vergence.load(tmp_path / "run"), held).vectors, vectors, rtol=1e-5)


def test_untrained_fingerprints_with_large_weights_are_near_where_circular_ones_are():
    """Figure 3: with large random weights the soft hash is nearly a hard one."""
    rdkit = pytest.importorskip("rdkit")
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    from vergence.data.graph.molecules import atoms_and_bonds, join_molecules

    assert rdkit
    smiles = [
        "CCO",
        "CCCO",
        "CCCCO",
        "c1ccccc1",
        "Cc1ccccc1",
        "Clc1ccccc1",
        "CC(=O)O",
        "CCC(=O)O",
        "CCN",
        "CCCN",
    ]
    graph, ptr = join_molecules([atoms_and_bonds(MolFromSmiles(s)) for s in smiles])
    torch.manual_seed(0)
    encoder = Fingerprint(length=1024, depth=2, width=64).eval()
    for parameter in encoder.parameters():
        parameter.data = 30 * torch.randn_like(parameter)
    for convolution in encoder.convolutions:
        convolution.norm.reset_parameters()
    z = embed(encoder, GraphsSource(graph, ptr, "ten")).vectors
    bits = np.stack(
        [GetMorganGenerator(2, fpSize=1024).GetCountFingerprintAsNumPy(MolFromSmiles(s)) for s in smiles]
    )

    def distances(a):
        least, most = (f(a[:, None], a[None]).sum(-1) for f in (np.minimum, np.maximum))
        return (1 - least / most)[np.triu_indices(len(a), 1)]  # Tanimoto, continuous

    assert np.corrcoef(distances(z), distances(bits.astype(float)))[0, 1] > 0.6
