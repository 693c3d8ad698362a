"""MEOW: the weighted loss as a loop, clusters and densities by hand, contexts, twins and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import vergence
from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.hetero import HeteroSource
from vergence.data.graph.pyg import HeteroData
from vergence.data.graph.source import NodeSource
from vergence.methods.graph import encoders, meow
from vergence.methods.graph.contexts import contexts_of, twin_of
from vergence.methods.graph.meow import MEOW, AdaMEOW, k_means, prototype_nce, weighted_info_nce

CONTRACT = {
    "source": lambda: papers(),
    "encoder": {"width": 8, "neighbours": [4, 6]},
    "options": {"clusters": (3, 5), "mask_edges": 0.2},
    "exempt": {"labels": "untrained encoders tell the two sorts of papers as well: no room to rise"},
}

SMALL = {"clusters": (3, 5), "mask_edges": 0.2}


def papers(n=40, seed=0):
    """Papers of two fields: authors stay in theirs, subjects say it, features say a little."""
    rng, field = np.random.default_rng(seed), np.arange(n) % 2
    graph = HeteroData()
    x = (rng.random((n, 10)) < 0.2 + 0.3 * (np.arange(10) % 2 == field[:, None])).astype(np.float32)
    x[:, 0] = 1
    graph["p"].x, graph["p"].num_nodes = torch.from_numpy(x), n
    authors = rng.integers(0, 6, (n, 2)) * 2 + field[:, None]
    lists = {"a": (authors, 12), "s": (rng.integers(0, 2, (n, 1)) * 2 + field[:, None], 4)}
    for kind, (members, size) in lists.items():
        pairs = np.stack([np.repeat(np.arange(n), members.shape[1]), members.ravel()])
        graph["p", "to", kind].edge_index = torch.from_numpy(np.unique(pairs, axis=1))
        graph[kind].num_nodes = size
    graph["a"].x = torch.from_numpy(rng.random((12, 7)).astype(np.float32))
    met = (authors[:, :, None, None] == authors.T[None, None]).any((1, 2))
    flat, _ = build(Edges(np.argwhere(np.triu(met, 1)).T, n), "papers", x=x, y=field)
    graph["p", "pap", "p"].edge_index = flat.edge_index
    graph["p", "psp", "p"].edge_index = flat.edge_index
    return HeteroSource(graph, "p", ["pap", "psp"], flat, "papers", classes=["0", "1"])


def method(cls=MEOW, source=None, **options):
    torch.manual_seed(0)
    source = source or papers()
    encoder = encoders.for_source(source, cls.recipe.encoder, width=8, neighbours=[4, 6])
    chosen = SMALL if cls is MEOW else {"mask_edges": 0.2}
    made = cls(encoder, **{**chosen, **options})
    made.setup(source)
    return made


def test_the_loss_is_the_formula_written_as_a_loop():
    a, z = normalize(torch.randn(6, 4), dim=1), normalize(torch.randn(6, 4), dim=1)
    weight = torch.randint(1, 4, (6, 6)).float()
    total = 0.0
    for i in (4, 0, 3):
        others = [j for j in range(6) if j != i]
        below = sum(weight[i, j].item() * math.exp((a[i] @ z[j]).item() / 0.4) for j in others)
        total -= math.log(math.exp((a[i] @ z[i]).item() / 0.4) / below)
    result = weighted_info_nce(a, z, torch.tensor([4, 0, 3]), lambda rows: weight[rows], temperature=0.4)
    assert result.item() == pytest.approx(total / 3, rel=1e-5)


def test_adameow_asks_from_the_fine_view_and_keeps_the_own_pair():
    model = method(AdaMEOW).eval()
    coarse, fine = (normalize(torch.randn(5, 8), dim=1) for _ in range(2))
    total = 0.0
    for i in (3, 1):
        weigh = [
            torch.sigmoid(model.out(torch.tanh(model.into(fine[i] + coarse[j])))).item() for j in range(5)
        ]
        below = sum(w * math.exp((fine[i] @ coarse[j]).item() / 0.4) for j, w in enumerate(weigh))
        total -= math.log(math.exp((fine[i] @ coarse[i]).item() / 0.4) / below)
    result = model.terms(coarse, fine, torch.tensor([3, 1]))["contrast"].item()
    assert result == pytest.approx(total / 2, rel=1e-5)


def test_semantic_attention_has_dropout_while_it_trains():
    encoder = method().encoder.train()
    views = [normalize(torch.randn(5, 8), dim=1) for _ in range(3)]
    drawn = {tuple(encoder.merged(views).flatten().tolist()) for _ in range(5)}
    assert len(drawn) > 1
    encoder.eval()
    assert torch.equal(encoder.merged(views), encoder.merged(views))


def test_blocks_change_neither_the_loss_nor_its_gradient(monkeypatch):
    values, grads = [], []
    for rows in (512, 3):
        monkeypatch.setattr(meow, "ROWS", rows)
        torch.manual_seed(0)
        a, z = (torch.randn(10, 4, requires_grad=True) for _ in range(2))
        loss = weighted_info_nce(a, z, torch.arange(10), lambda r: torch.ones(len(r), 10), temperature=1.0)
        loss.backward()
        values.append(loss.detach())
        grads.append(torch.cat([a.grad, z.grad]))
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*grads)


def test_negatives_weigh_as_many_clusterings_as_keep_them_apart(monkeypatch):
    of = [torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 0])]
    model, drawn, seen = method(prototypes=0.0, clusters=(2, 2)), iter(of), []
    z = normalize(torch.randn(4, 8), dim=1)
    monkeypatch.setattr(meow, "k_means", lambda z, k: (next(drawn), z[:2]))
    monkeypatch.setattr(
        meow,
        "weighted_info_nce",
        lambda a, b, rows, weigh, temperature: seen.append(weigh(rows)) or z.sum(),
    )
    model.terms(z, z, torch.arange(4))
    assert seen[0].tolist() == [[0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]]


def test_k_means_finds_bundles_and_unit_centres():
    torch.manual_seed(1)
    centre = torch.eye(3).repeat_interleave(20, 0)
    z = normalize(centre + 0.05 * torch.randn(60, 3), dim=1)
    own, centres = min((k_means(z, 3) for _ in range(8)), key=lambda f: -(z * f[1][f[0]]).sum().item())
    assert len({tuple(sorted(set(own[i : i + 20].tolist()))) for i in (0, 20, 40)}) == 3
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(3))


def test_a_loose_cluster_is_warmer_and_the_mean_is_the_temperature():
    model = method()
    centres = torch.eye(3, 8)
    z = normalize(centres.repeat_interleave(6, 0) + 0.1 * torch.randn(18, 8), dim=1)
    z[6:12] = centres[1]
    phi = model.density(z, torch.arange(3).repeat_interleave(6), centres)
    assert phi[1] < phi[0] and phi[1] < phi[2] and phi.mean().item() == pytest.approx(0.4)


def test_the_prototype_loss_by_hand():
    z, centres, phi = torch.randn(2, 4), torch.randn(3, 4), torch.tensor([0.2, 0.5, 1.0])
    own, by_hand = [2, 0], 0.0
    for i, k in enumerate(own):
        logits = [(z[i] @ centres[c] / phi[c]).item() for c in range(3)]
        by_hand -= logits[k] - math.log(sum(math.exp(value) for value in logits))
    result = prototype_nce(z, torch.tensor(own), centres, phi)
    assert result.item() == pytest.approx(by_hand / 2, rel=1e-5)


def test_contexts_by_hand():
    """Papers 0 and 1 share both authors, 2 shares one with each; 3 has one author, alone."""
    graph = HeteroData()
    graph["p"].num_nodes, graph["a"].num_nodes = 4, 4
    graph["p", "to", "a"].edge_index = torch.tensor([[0, 0, 1, 1, 2, 2, 3], [0, 1, 0, 1, 1, 2, 3]])
    (context,) = contexts_of(graph, "p", ["pap"], [1])
    # PathSim: 0-1 is 2·2/(2+2) = 1, 0-2 and 1-2 are 2·1/(2+2) = 1/2; each keeps one, 3 has none
    assert sorted(map(tuple, context.edge_index.T.tolist())) == [(0, 1), (0, 2), (1, 0)]
    mean = context.mean.to_dense()
    assert mean[0].tolist() == [0.5, 0.5, 0, 0] and mean[3].tolist() == [0, 0, 0, 1]
    spread = context.spread.to_dense() if context.spread.is_sparse else context.spread
    root = 0.5**0.5
    by_hand = torch.tensor([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1.0]])
    torch.testing.assert_close(spread, by_hand)
    assert root == pytest.approx(2**-0.5)


def test_a_twin_loses_the_stated_shares_and_only_those():
    source = papers()
    x = source.hetero["p"].x
    result = contexts_of(source.hetero, "p", ["pap", "psp"], [4, 6])
    twin = twin_of(x, result, 0.3, [0.25, 0.0], seed=0)
    gone = (x != 0) & (twin.x == 0)
    assert gone.sum() == int(0.3 * (x != 0).sum()) and torch.equal(twin.x[~gone], x[~gone])
    entries = [((s.to_dense() if s.is_sparse else s) != 0).sum() - 40 for s in twin.spread]
    edges = [context.edge_index.shape[1] for context in result]
    assert entries[0] == edges[0] - int(0.25 * edges[0]) and entries[1] == edges[1]
    again = twin_of(x, result, 0.3, [0.25, 0.0], seed=0)
    assert torch.equal(again.x, twin.x)


def test_merging_is_an_average_and_without_masks_twins_change_nothing():
    source = papers()
    encoder = method(source=source, mask_features=0.0, mask_edges=0.0).encoder.eval()
    model = method(source=source, mask_features=0.0, mask_edges=0.0)
    model.eval()
    plain, twinned = model.encoder.fine(source.hetero), model.encoder.fine(source.hetero, model.twin)
    torch.testing.assert_close(plain, twinned, rtol=1e-4, atol=1e-5)
    z = normalize(torch.randn(5, 8), dim=1)
    torch.testing.assert_close(encoder.merged([z, z, z]), z)


@pytest.mark.parametrize("cls", [MEOW, AdaMEOW])
def test_every_parameter_learns_and_the_loss_falls(cls):
    source = papers()
    model = method(cls, source)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(30):
        loss = sum(model.loss(model.views(source.whole_graph())).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_some_anchors_ask_without_bias():
    source = papers()
    full, few = method(source=source, prototypes=0.0).eval(), method(source=source, anchors=10).eval()
    few.prototypes = 0.0
    torch.manual_seed(0)
    graph = source.whole_graph()
    drawn = [few.loss(graph)["contrast"].item() for _ in range(60)]
    every = [full.loss(graph)["contrast"].item() for _ in range(60)]
    assert np.mean(drawn) == pytest.approx(np.mean(every), abs=0.1)


def test_a_run_is_repeated_resumed_and_loaded(tmp_path):
    source = papers()
    settings = {"encoder_options": {"width": 8, "neighbours": 5}, "epochs": 2, "quiet": True, **SMALL}
    runs = [vergence.learn("meow", source, out=tmp_path / str(i), seed=1, **settings) for i in range(2)]
    z = [vergence.engine.embed(run.encoder, source).vectors for run in runs]
    np.testing.assert_array_equal(*z)
    np.testing.assert_array_equal(vergence.engine.embed(vergence.load(tmp_path / "0"), source).vectors, z[0])


def test_what_it_cannot_use_is_refused():
    flat, _ = build(Edges(np.array([[0], [1]]), 3), "flat", x=np.ones((3, 2), np.float32))
    with pytest.raises(BadInput, match="typed graphs"):
        encoders.for_source(NodeSource(flat, "flat"), MEOW.recipe.encoder)
    with pytest.raises(BadInput, match="lower clusters"):
        method(clusters=(100,))
    with pytest.raises(BadInput, match="own encoder"):
        MEOW(encoders.build("gcn", in_dim=3, width=4))
    with pytest.raises(BadInput, match="mask_edges"):
        method(mask_edges=(0.1, 0.2, 0.3))
    with pytest.raises(BadInput, match="temperature"):
        method(temperature=0.0)
    lacking = papers().hetero
    del lacking["p", "to", "s"]
    with pytest.raises(BadInput, match="nei_s"):
        contexts_of(lacking, "p", ["psp"], [3])
