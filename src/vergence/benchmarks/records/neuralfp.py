"""Neural fingerprints on Delaney's solubilities: do learned fingerprints tell more than circular ones?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from vergence.benchmarks.arms import Fitted
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import Arm, Metric, opened
from vergence.core import Estimator
from vergence.core.errors import need
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
    note="Delaney's 1,128 molecules. As in the paper settings are drawn at random, here 12 for each arm and "
    "fold, of 40 or 100 epochs; those that do best on an eighth of the molecules that teach are taken. "
    "The strength of ridge regression is chosen by leaving one out. ECFP has 1,024 bits and radius 2. "
    "Needs rdkit. The released norm, first weights and learning rate, tried in two folds, missed the "
    "molecules kept aside by 0.66 and 0.59 at the best of 6,000 steps: the paper's 0.52 was not reached "
    "with them either.",
)
