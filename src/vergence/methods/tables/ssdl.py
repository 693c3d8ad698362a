"""SSDL: Self-Supervised Dictionary Learning, arXiv:2112.01790."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import cg
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core import BadInput, Estimator
from vergence.data import Source
from vergence.data.tables.batch import TableBatch
from vergence.data.tables.source import TableSource
from vergence.methods.tables.encoders import TableEncoder, build, cells
from vergence.methods.tables.tldr import nearest

EPS = 1e-6  # added to squared distances, so that p < 2 has no infinite weight
CODING = 100  # FISTA steps of a code
PLACE = "vergence.methods.tables.ssdl:SparseCoder"


class SSDL(Estimator):
    """Few labels spread over a hypergraph; a dictionary explains samples and soft labels by one sparse code.

    Shao, Wu, Yan, Liu, Liu 2022, arXiv:2112.01790. First a p-Laplacian attention hypergraph gives every
    sample a soft label F (the pretext), then D, W and S minimise ‖X - SD‖² + λ‖F - SW‖² + 2ε‖S‖₁ with
    atoms no longer than 1. Rows are scaled to unit length. After ``fit``: ``soft (n, C)``,
    ``objectives`` of both parts; the encoder answers with codes, its ``scores`` with W s, coded by D
    alone. Differs from the paper, of which no code was found: formulas follow its statement and the
    authors' companion methods; attention is exp(-distance² / σ²), σ the mean distance to neighbours;
    F is scaled to sum 1 a row.

    Args:
        atoms: Of the dictionary, K.
        p: Of the Laplacian, in (1, 2].
        neighbours: Of each hyperedge besides the sample that makes it.
        mu: How closely F keeps to the labels, above 0.
        weight: Of the soft labels against the samples, λ, not negative.
        sparsity: ε, above 0.
        attention: False takes all members of a hyperedge alike.
        rounds: Of code and dictionary in turn.
    """

    def __init__(
        self,
        *,
        atoms: int = 100,
        p: float = 1.8,
        neighbours: int = 8,
        mu: float = 0.1,
        weight: float = 1.0,
        sparsity: float = 0.05,
        attention: bool = True,
        rounds: int = 20,
    ) -> None:
        if not 1 < p <= 2:
            raise BadInput(f"SSDL needs p in (1, 2]; got {p}.")
        if min(atoms, neighbours, rounds) < 1 or min(mu, sparsity) <= 0 or weight < 0:
            raise BadInput("SSDL needs atoms, neighbours, rounds >= 1, mu and sparsity > 0 and weight >= 0.")
        self.atoms, self.p, self.neighbours, self.mu = atoms, p, neighbours, mu
        self.weight, self.sparsity, self.attention, self.rounds = weight, sparsity, attention, rounds

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        """Learn dictionary and classifier; labels of -1 are unknown.

        Args:
            source: Of numeric columns, a few of its rows labelled.
            seed: Of the samples that the dictionary starts from.

        Raises:
            BadInput: If there are fewer than 2 classes among the labels.
        """
        if not isinstance(source, TableSource):
            raise BadInput(f"SSDL learns from the rows of a table; {source.uri} is none.")
        if source.labels is None or len(np.unique(source.labels[source.labels >= 0])) < 2:
            raise BadInput(f"SSDL needs labelled rows of 2 or more classes; {source.uri} has none.")
        plain, x = cells(source, what="SSDL")
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        given = one_hot(source.labels)
        edges = hypergraph(x, min(self.neighbours, len(x) - 1), attention=self.attention)
        spread, first = p_laplacian(edges, given, p=self.p, mu=self.mu)
        self.soft = self.pseudo_labels(spread.clip(min=0))
        atoms, classifier, second = dictionary(
            x, self.soft, atoms=self.atoms, weight=self.weight, sparsity=self.sparsity, rounds=self.rounds,
            seed=seed,
        )  # fmt: skip
        self.objectives = {"hypergraph": first, "dictionary": second}
        self.encoder = build(
            PLACE, numbers=plain.numbers, categories={}, flagged=plain.flagged, atoms=self.atoms,
            classes=given.shape[1], sparsity=self.sparsity,
        )  # fmt: skip
        self.encoder.load_state_dict(
            {
                **plain.state_dict(),
                "atoms": torch.from_numpy(atoms),
                "classifier": torch.from_numpy(classifier),
            }
        )
        return self

    def pseudo_labels(self, spread: np.ndarray) -> np.ndarray:
        """Return soft labels ``(n, C)`` that sum to 1, or 0 where no label arrived."""
        return spread / np.maximum(spread.sum(1, keepdims=True), 1e-12)


class SparseCoder(TableEncoder):
    """Rows of unit length -> their sparse codes ``(B, K)`` on a dictionary.

    Args:
        numbers: See ``TableEncoder``.
        categories: None.
        flagged: See ``TableEncoder``.
        atoms: K.
        classes: C.
        sparsity: ε.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Mapping[str, int],
        flagged: Sequence[str] = (),
        *,
        atoms: int,
        classes: int,
        sparsity: float,
    ) -> None:
        super().__init__(numbers, categories, flagged)
        self.sparsity, self.out_dim = sparsity, atoms
        self.register_buffer("atoms", torch.zeros(atoms, self.width))
        self.register_buffer("classifier", torch.zeros(atoms, classes))

    atoms: Tensor
    classifier: Tensor

    def forward(self, batch: TableBatch) -> Tensor:
        """Return argmin_s ‖x - sD‖² + 2ε‖s‖₁ (FISTA, Beck and Teboulle 2009)."""
        with torch.autocast(self.atoms.device.type, enabled=False):
            x = normalize(self.cells(batch).float(), dim=1)
            gram, fit = self.atoms @ self.atoms.T, x @ self.atoms.T
            step = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(1e-6)
            code = ahead = torch.zeros_like(fit)
            t = 1.0
            for _ in range(CODING):
                moved = ahead - step * (ahead @ gram - fit)
                new = moved.sign() * (moved.abs() - step * self.sparsity).clamp_min(0)
                t, before = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
                code, ahead = new, new + (before - 1) / t * (new - code)
            return code

    def scores(self, batch: TableBatch) -> Tensor:
        """Return W s ``(B, C)``, whose largest entry is the predicted class."""
        return self(batch) @ self.classifier


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Return Y ``(n, C)``, zero where the label is -1."""
    marks = np.zeros((len(labels), int(labels.max()) + 1))
    known = np.flatnonzero(labels >= 0)
    marks[known, labels[known]] = 1.0
    return marks


def hypergraph(x: np.ndarray, neighbours: int, *, attention: bool = True) -> sp.csr_array:
    """Return the incidence H ``(n, n)``: column e holds sample e (1) and its neighbours by their attention.

    Args:
        x: ``(n, d)``.
        neighbours: From 1 to n - 1.
        attention: exp(-distance² / σ²), σ the mean distance to neighbours; else 1.
    """
    n = len(x)
    near = nearest(torch.from_numpy(x), neighbours).numpy()
    square = ((x[near] - x[:, None]) ** 2).sum(2)  # (n, k)
    sigma = max(float(np.sqrt(square).mean()), 1e-12)
    share = np.exp(-square / sigma**2) if attention else np.ones_like(square)
    members = np.concatenate([np.arange(n)[:, None], near], 1)
    values = np.concatenate([np.ones((n, 1)), share], 1)
    edge = np.repeat(np.arange(n), neighbours + 1)
    return sp.csr_array((values.ravel(), (members.ravel(), edge)), shape=(n, n))


def pairs_of(edges: sp.csr_array) -> tuple[sp.csr_array, np.ndarray]:
    """Return Θ = H De⁻¹ Hᵀ ``(n, n)`` of hyperedges of weight 1, and the samples' degrees ``(n,)``."""
    size = np.asarray(edges.sum(0)).ravel()
    degree = np.asarray(edges.sum(1)).ravel()
    return sp.csr_array(edges @ sp.diags_array(1 / size) @ edges.T), degree


def p_laplacian(
    edges: sp.csr_array, given: np.ndarray, *, p: float, mu: float, rounds: int = 30, tolerance: float = 1e-5
) -> tuple[np.ndarray, list[float]]:
    """Minimise S_p(F) + μ‖F - Y‖², S_p(F) = ½ Σ_uv Θ_uv ‖F_u/√d_u - F_v/√d_v‖^p.

    Each round weighs the pairs anew with (p/2) (‖·‖² + ε)^{(p-2)/2}, a bound from above that touches at
    the present F, and solves; the objective never rises. p = 2 is one round and gives
    F = μ(μI + Δ)⁻¹Y with Δ = I - Dv^-½ H De⁻¹ Hᵀ Dv^-½.

    Args:
        edges: H ``(n, n)``.
        given: Y ``(n, C)``.
        p: In (1, 2].
        mu: Above 0.
        rounds: At most.
        tolerance: Of the objective's relative fall, at which it ends.

    Returns:
        F ``(n, C)`` and the objective after each round.
    """
    theta, degree = pairs_of(edges)
    pair = theta.tocoo()
    u, v = pair.coords
    root = sp.diags_array(1 / np.sqrt(degree))
    soft, costs = np.array(given), []
    for _ in range(1 if p == 2 else rounds):
        apart = _apart(soft, degree, u, v)
        now = pair.data * (p / 2) * ((apart + EPS) ** ((p - 2) / 2) if p < 2 else 1.0)
        weights = sp.csr_array((now, (u, v)), shape=theta.shape)
        laplacian = sp.diags_array(np.asarray(weights.sum(1)).ravel()) - weights
        system = sp.csr_array(root @ laplacian @ root + mu * sp.eye_array(len(given)))
        columns = zip(given.T, soft.T, strict=True)
        soft = np.stack(
            [cg(system, mu * y, x0=start, rtol=1e-10, maxiter=2000)[0] for y, start in columns], 1
        )
        apart = _apart(soft, degree, u, v)
        smooth = (apart + EPS) ** (p / 2) if p < 2 else apart
        costs.append(0.5 * float(pair.data @ smooth) + mu * float(((soft - given) ** 2).sum()))
        if len(costs) > 1 and costs[-2] - costs[-1] < tolerance * costs[-2]:
            break
    return soft, costs


def dictionary(
    x: np.ndarray, soft: np.ndarray, *, atoms: int, weight: float, sparsity: float, rounds: int, seed: int
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Minimise ‖X - SD‖² + λ‖F - SW‖² + 2ε‖S‖₁ over S, D and W with rows of D and W no longer than 1.

    S by coordinate descent on the stacked [X, √λ F], D and W row by row in closed form: each step is
    an exact minimum, so that the objective never rises.

    Args:
        x: ``(n, d)``.
        soft: F ``(n, C)``.
        atoms: K.
        weight: λ.
        sparsity: ε.
        rounds: Of S, then D and W.
        seed: Of the rows that D starts from.

    Returns:
        D ``(K, d)``, W ``(K, C)`` float32, and the objective after each round.
    """
    random = np.random.default_rng(seed)
    start = random.choice(len(x), atoms, replace=atoms > len(x))
    base, labels = x[start].copy(), soft[start].copy()
    code = np.zeros((len(x), atoms))
    costs = []
    for _ in range(rounds):
        gram = base @ base.T + weight * labels @ labels.T
        fit = x @ base.T + weight * soft @ labels.T
        for k in np.arange(atoms):
            if gram[k, k] > 1e-12:
                rest = fit[:, k] - code @ gram[:, k] + code[:, k] * gram[k, k]
                code[:, k] = np.sign(rest) * np.maximum(np.abs(rest) - sparsity, 0) / gram[k, k]
        square = code.T @ code
        for part, target in ((base, code.T @ x), (labels, code.T @ soft)):
            for k in np.flatnonzero(square.diagonal() > 1e-12):
                row = part[k] + (target[k] - square[k] @ part) / square[k, k]
                part[k] = row / max(1.0, float(np.linalg.norm(row)))
        error = ((x - code @ base) ** 2).sum() + weight * ((soft - code @ labels) ** 2).sum()
        costs.append(float(error + 2 * sparsity * np.abs(code).sum()))
    return base.astype(np.float32), labels.astype(np.float32), costs


def _apart(soft: np.ndarray, degree: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    even = soft / np.sqrt(degree)[:, None]
    return ((even[u] - even[v]) ** 2).sum(1)
