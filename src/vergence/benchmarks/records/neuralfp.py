"""Neural fingerprints on Delaney's solubilities: do learned fingerprints tell more than circular ones?"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from vergence.benchmarks.arms import Fitted
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.tasks import Arm, Metric, Task, generated, opened
from vergence.core import Estimator
from vergence.core.errors import need
from vergence.data.graph import pyg
from vergence.data.graph.build import Edges, build
from vergence.data.graph.molecules import MoleculeSource
from vergence.data.graph.source import GraphsSource
from vergence.engine import embed
from vergence.evaluate.protocols.graph import rmse
from vergence.evaluate.score import Score
from vergence.methods.graph.encoders import Table
from vergence.methods.graph.neuralfp import Fingerprint, NeuralFP
from vergence.methods.graph.raw import RawFeatures
from vergence.train import learn

SIZES = {"length": 128, "depth": 4, "width": 64}  # of a fingerprint that is not trained
TRIES = 12  # settings that are drawn for each training


class Predictor(nn.Module):
    """What a trained method says of molecules, ``(B, 1)``."""

    def __init__(self, method: NeuralFP) -> None:
        super().__init__()
        self.method, self.out_dim = method, 1

    def forward(self, batch: Any) -> Tensor:
        return self.method.predict(batch)


class Trained(Estimator):
    """The paper's network, or one that lacks a part.

    Of ``TRIES`` drawn settings those that do best on an eighth of the molecules, kept aside, train it again
    on all of them.
    """

    def __init__(self, **lacks: Any) -> None:
        self.lacks = lacks

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        order = np.random.default_rng(seed).permutation(len(source))
        aside, taught = np.split(order, [len(order) // 8])
        teaches = source.subset(np.sort(taught))
        drawn = [settings(np.random.default_rng([seed, number])) for number in range(TRIES)]
        missed = []
        for some in drawn:
            guess = embed(self.trained(teaches, seed, *some), source).vectors[aside, 0]
            missed.append(rmse(guess, source.values[aside, 0]).value)
        best = int(np.argmin(missed))
        self.encoder = self.trained(source, seed, *drawn[best])
        return self

    def trained(
        self, source: GraphsSource, seed: int, sizes: dict[str, int], training: dict[str, Any]
    ) -> Predictor:
        torch.manual_seed(seed)
        method = NeuralFP(Fingerprint.for_source(source, **{**sizes, **self.lacks}))
        with tempfile.TemporaryDirectory() as folder:
            learn(method, source, **training, out=Path(folder) / "run", seed=seed, workers=1, quiet=True)
        return Predictor(method)


def settings(rng: np.random.Generator) -> tuple[dict[str, int], dict[str, Any]]:
    """Draw the sizes of a fingerprint and how it is trained, as the paper does (Sec. 5)."""
    sizes = {
        "length": int(rng.choice([32, 64, 128, 256])),
        "depth": int(rng.integers(2, 6)),
        "width": int(rng.choice([20, 40, 64, 128])),
    }
    training = {
        "lr": float(10 ** rng.uniform(-3, -2)),
        "weight_decay": float(10 ** rng.uniform(-3, -1)),
        "epochs": int(rng.choice([40, 100])),
    }
    return sizes, training


class Fixed(Estimator):
    """An ordinary regression on features that are not learned.

    Args:
        features: (molecules that teach, seed) -> features of every molecule of the table ``(n, D)``.
        model: Makes the regression.
    """

    def __init__(self, *, features: Callable[[Any, int], np.ndarray], model: Callable[[int], Any]) -> None:
        self.features, self.model = features, model

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        x = self.features(source, seed)
        fitted = self.model(seed).fit(x[source.rows], source.values[:, 0])
        self.encoder = Table(torch.from_numpy(fitted.predict(x)[:, None]))
        return self


def circular(source: MoleculeSource, seed: int) -> np.ndarray:
    """ECFP4: 1,024 bits, radius 2."""
    chem = need("rdkit.Chem", extra="molecules")
    bits = need("rdkit.Chem.rdFingerprintGenerator", extra="molecules").GetMorganGenerator(2, fpSize=1024)
    return np.stack([bits.GetFingerprintAsNumPy(chem.MolFromSmiles(s)) for s in source.smiles]).astype(float)


def atoms(source: GraphsSource, seed: int) -> np.ndarray:
    """The sum of the atoms' features, what a molecule is before learning."""
    return of_table(RawFeatures(), source)


def untrained(source: GraphsSource, seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    return of_table(Fingerprint.for_source(source, **SIZES), source)


def of_table(encoder: nn.Module, source: GraphsSource) -> np.ndarray:
    """Return the vectors of every molecule of the table that a source is part of."""
    return embed(encoder, GraphsSource(source.data, source.ptr, source.uri)).vectors


def ridge(seed: int) -> Any:
    """The strength is chosen by leaving out one molecule at a time of those that teach."""
    return RidgeCV(alphas=np.logspace(-3, 4, 22))


def net(seed: int) -> Any:
    """One hidden layer of 100, as on the learned fingerprints."""
    layers = MLPRegressor(
        hidden_layer_sizes=(100,), alpha=1e-2, batch_size=100, max_iter=100, random_state=seed
    )
    return TransformedTargetRegressor(layers, transformer=StandardScaler())


def fold(source: GraphsSource, seed: int) -> tuple[Any, tuple[Any, np.ndarray]]:
    """Return four fifths of the molecules, which teach, and which judge: another fifth each seed."""
    judges = np.random.default_rng(0).permutation(len(source))[seed::5]
    return source.subset(np.setdiff1d(np.arange(len(source)), judges)), (source, judges)


def error(encoder: nn.Module, train: Any, judged: Any, seed: int) -> Score:
    """Root mean square error of what is predicted of the molecules that were kept."""
    source, judges = judged
    return rmse(embed(encoder, source).vectors[judges, 0], source.values[judges, 0])


def fixed(features: Callable[[Any, int], np.ndarray], model: Callable[[int], Any]) -> Arm:
    return Fitted(lambda: Fixed(features=features, model=model))


ERROR = Metric("RMSE of log10 mol/l, five folds, one a seed", error, less_is_better=True)

TAUGHT, JUDGED = 300, 1_000  # made-up molecules
KINDS, MOST = 8, 4  # of atoms; neighbours of an atom


def made_up(source: None, seed: int) -> tuple[GraphsSource, GraphsSource]:
    """Generate trees of atoms of eight kinds and two kinds of bonds.

    The target is the sum over atoms of what their neighbours and bonds are worth to them; to an atom of
    another degree each kind has another worth.
    """
    del source
    rng = np.random.default_rng([84, seed])
    worth, extra = rng.normal(size=(MOST + 1, KINDS)), rng.normal(size=(MOST + 1, 2))
    pairs, ptr, values, x, bonds = [], [0], [], [], []
    for _ in range(TAUGHT + JUDGED):
        atoms = int(rng.integers(8, 15))
        kind, degree, ends = rng.integers(KINDS, size=atoms), np.zeros(atoms, int), []
        for atom in range(1, atoms):
            free = np.flatnonzero(degree[:atom] < MOST)
            ends.append((int(rng.choice(free)), atom))
            degree[list(ends[-1])] += 1
        u, v = np.array(ends).T
        bond = (rng.random(len(u)) < 0.4).astype(int)
        values.append(
            sum(worth[degree[a], kind[b]].sum() + extra[degree[a], bond].sum() for a, b in ((u, v), (v, u)))
        )
        pairs.append(np.stack([u, v]) + ptr[-1])
        bonds.append(np.eye(2)[bond])
        x.append(np.eye(KINDS)[kind])
        ptr.append(ptr[-1] + atoms)
    values_of = {"edge_attr": np.concatenate(bonds).astype(np.float32)}
    edges = Edges(np.concatenate(pairs, axis=1), ptr[-1], values_of)
    data, _ = build(edges, "made up", x=np.concatenate(x).astype(np.float32))
    target = np.array(values)[:, None]
    whole = GraphsSource(data, np.array(ptr), "made up", values=target / target.std())
    return whole.subset(np.arange(TAUGHT)), whole.subset(np.arange(TAUGHT, TAUGHT + JUDGED))


class Learned(Estimator):
    """The paper's network with settings that are given."""

    def __init__(self, **lacks: Any) -> None:
        self.lacks = lacks

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        sizes, training = (
            {"length": 32, "depth": 1, "width": 32},
            {"lr": 5e-3, "epochs": 60, "batch_size": 40},
        )
        self.encoder = Trained(**self.lacks).trained(source, seed, sizes, training)
        return self


def surroundings(source: GraphsSource, radius: int) -> list[Counter[str]]:
    """Count in each molecule the circular surroundings of atoms up to a radius, as ECFP does."""
    counts = []
    for i in range(len(source)):
        molecule = source.sample(i)
        u, v = molecule.edge_index.tolist()
        bond = molecule.edge_attr.argmax(1).tolist()
        names = [str(kind) for kind in molecule.x.argmax(1).tolist()]
        seen = Counter(names)
        for _ in range(radius):
            near: list[list[str]] = [[] for _ in names]
            for a, b, kind in zip(u, v, bond, strict=True):
                near[a].append(f"{kind}{names[b]}")
            names = [f"({name} {' '.join(sorted(around))})" for name, around in zip(names, near, strict=True)]
            seen.update(names)
        counts.append(seen)
    return counts


def exact(radius: int) -> Arm:
    """Return the arm of a ridge regression on how often each surrounding of the taught molecules occurs."""

    def measure(task: Task, seed: int) -> Score:
        train, test = task.data(seed)
        table = DictVectorizer()
        x = table.fit_transform(surroundings(train, radius)).toarray()
        guess = (
            ridge(seed)
            .fit(x, train.values[:, 0])
            .predict(table.transform(surroundings(test, radius)).toarray())
        )
        return rmse(guess, test.values[:, 0])

    return measure


def missed(encoder: nn.Module, train: Any, test: Any, seed: int) -> Score:
    """Root mean square error on molecules that were never seen."""
    return rmse(embed(encoder, test).vectors[:, 0], test.values[:, 0])


def loops() -> Iterator[tuple[Any, Any]]:
    """Give what atoms write, and its gradient, written atom by atom."""
    torch.manual_seed(0)
    net = Fingerprint(3, 2, length=5, depth=2, width=4, degrees=3).double().eval()
    for layer in net.convolutions:
        layer.norm.running_mean.normal_()  # type: ignore[union-attr, operator]
        layer.norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr, operator]
    once = torch.tensor([[0, 0, 0, 0, 4], [1, 2, 3, 4, 5]])
    graph = pyg.Data(x=torch.randn(7, 3, dtype=torch.double, requires_grad=True))
    graph.edge_index = torch.cat([once, once.flip(0)], dim=1)
    graph.edge_attr = torch.randn(5, 2, dtype=torch.double).repeat(2, 1)
    r, total = graph.x, []
    u, v = graph.edge_index.tolist()
    total.append((r @ net.write[0].weight.T + net.write[0].bias).softmax(1))
    for layer, write in zip(net.convolutions, net.write[1:], strict=True):
        rows: list[Tensor] = []
        for a in range(7):
            near = [e for e in range(10) if u[e] == a]
            of = min(len(near), 2)
            weight = layer.neighbours[:, 4 * of : 4 * of + 4]  # type: ignore[index]
            row = layer.own.weight @ r[a]  # type: ignore[union-attr]
            for e in near:
                row = row + torch.cat([r[v[e]], graph.edge_attr[e]]) @ weight
            norm: Any = layer.norm
            row = (row - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
            rows.append(row.clamp(min=0))
        r = torch.stack(rows)
        total.append((r @ write.weight.T + write.bias).softmax(1))  # type: ignore[operator]
    for ours, theirs in zip(net.writes(graph), total, strict=True):
        yield ours.detach(), theirs.detach()
        scale = torch.randn_like(ours)
        pair = (
            torch.autograd.grad((part * scale).sum(), [graph.x], retain_graph=True)[0]
            for part in (ours, theirs)
        )
        yield next(pair), next(pair)


PARITY = Parity("second", "what atoms write, atom by atom, with its gradient, float64", compare=loops)
MECHANISM = Mechanism(
    f"{TAUGHT} made-up molecules to learn from, {JUDGED:,} to judge: trees of 8 to 14 atoms of eight kinds, "
    "and two kinds of bonds. An atom adds what its neighbours and bonds are worth to it, and to an atom of "
    "another degree the same kind has another worth, drawn anew: one set of weights would have to be "
    "switched by the degree, which it only sees as a sum. Exact surroundings hardly come twice, atoms "
    "without neighbours say nothing, and bonds count by themselves. In deviations of the target.",
    task=generated(made_up, Metric("RMSE on unseen molecules, deviations", missed, less_is_better=True)),
    arms={
        "paper": Fitted(Learned),
        "one set of weights for all degrees": Fitted(partial(Learned, degrees=1)),
        "exact surroundings of radius 1 + ridge": exact(1),
        "exact surroundings of radius 2 + ridge": exact(2),
        "depth 0 (bag of atoms)": Fitted(partial(Learned, depth=0)),
        "no bonds' features": Fitted(partial(Learned, bond_dim=0)),
    },
)

RECORD = Record(
    key="neuralfp",
    claim="Fingerprints that are learned end to end predict solubility better than fixed circular ones.",
    task=opened(
        "smiles:molecules/delaney/delaney-processed.csv:measured log solubility in mols per litre",
        ERROR,
        deal=fold,
    ),
    arms={
        "paper": Fitted(Trained),
        "ECFP + ridge": fixed(circular, ridge),
        "ECFP + net": fixed(circular, net),
        "mean of the training molecules": fixed(atoms, lambda seed: DummyRegressor()),
        "atoms' features, summed + ridge": fixed(atoms, ridge),
        "untrained fingerprint + ridge": fixed(untrained, ridge),
        "one set of weights for all degrees": Fitted(partial(Trained, degrees=1)),
        "depth 0 (bag of atoms)": Fitted(partial(Trained, depth=0)),
        "no bonds' features": Fitted(partial(Trained, bond_dim=0)),
    },
    mechanism=MECHANISM,
    parity=PARITY,
    note="Delaney's 1,128 molecules. As in the paper settings are drawn at random, here 12 for each arm and "
    "fold, of 40 or 100 epochs; those that do best on an eighth of the molecules that teach are taken. "
    "The strength of ridge regression is chosen by leaving one out. ECFP has 1,024 bits and radius 2. "
    "Needs rdkit. The released norm, first weights and learning rate, tried in two folds, missed the "
    "molecules kept aside by 0.66 and 0.59 at the best of 6,000 steps: the paper's 0.52 was not reached "
    "with them either.",
)
