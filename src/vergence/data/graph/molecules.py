"""Molecules as graphs of atoms, from a table of SMILES."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.core.errors import BadInput, need, unknown
from vergence.data.delimited import separator_of
from vergence.data.graph import pyg
from vergence.data.graph.lines import text_of
from vergence.data.graph.source import GraphsSource

_SYMBOLS = """C N O S F Si P Cl Br Mg Na Ca Fe As Al I B V K Tl Yb Sb Sn Ag Pd Co Se Ti Zn H Li Ge Cu Au Ni
Cd In Mn Zr Cr Pt Hg Pb"""
ELEMENTS = _SYMBOLS.split()
ATOM_FEATURES, BOND_FEATURES = 62, 6


class MoleculeSource(GraphsSource):
    """Molecules; ``x`` is Duvenaud et al.'s 62 atom features, ``edge_attr`` their 6 of bonds.

    Of an atom: its element among 43 and "other", degree 0 to 5, hydrogens 0 to 4, implicit valence 0 to 5,
    each one-hot with the last for all above, and whether it is aromatic. Of a bond: single, double,
    triple, aromatic, and whether it is conjugated and in a ring.

    Attributes:
        smiles: One a molecule, of the whole table as far as it could be read; row i of this source
            is ``smiles[rows[i]]``.
        target_names: Of the columns of ``values``.
    """

    smiles: list[str]
    target_names: list[str]


def molecules(path: Path, uri: str, column: str | None = None) -> MoleculeSource:
    """Open ``smiles:FILE.csv``, a table with a column called smiles.

    What cannot be read as a molecule is left out and listed as skipped.

    Args:
        path: The table, with a header.
        uri: What was opened.
        column: What is to be predicted; None takes every column of numbers.

    Raises:
        BadInput: If there is no such column, or most molecules cannot be read.
        MissingExtra: If rdkit is not installed.
    """
    chem = need("rdkit.Chem", extra="molecules")
    need("rdkit.RDLogger", extra="molecules").DisableLog("rdApp.*")  # what is wrong is told in one line
    header, rows = _table(path, uri)
    at = next((i for i, name in enumerate(header) if name.strip().lower() == "smiles"), None)
    if at is None:
        raise BadInput(f"{uri} has no column called smiles; it has {', '.join(header)}.")
    if column is not None and column not in header:
        raise unknown(f"column of {uri}", column, header)
    wanted = [column] if column is not None else _numeric(header, rows, at)
    built, kept, wrong = [], [], {}
    for i, row in enumerate(rows):
        molecule = chem.MolFromSmiles(row[at].strip())
        if molecule is None or not molecule.GetNumAtoms():
            wrong[f"{path.name}#{i}"] = f"'{row[at].strip()}' is no molecule"
        else:
            built.append(atoms_and_bonds(molecule))
            kept.append(i)
    if not kept:
        raise BadInput(f"{uri}: none of {len(rows)} rows is a molecule.")
    targets = np.array([[_number(rows[i][header.index(name)]) for name in wanted] for i in kept])
    graphs, ptr = join_molecules(built)
    notes = [f"{len(wrong):,} rows are no molecules and were left out"] if wrong else []
    source = MoleculeSource(
        graphs, ptr, uri, values=targets if wanted else None,
        names=[f"{path.name}#{i}" for i in kept], notes=notes,
    )  # fmt: skip
    source.smiles, source.target_names = [rows[i][at].strip() for i in kept], wanted
    for name, reason in wrong.items():
        source.skipped.add(name, reason)
    source.skipped.check(len(rows), uri)
    return source


def _table(path: Path, uri: str) -> tuple[list[str], list[list[str]]]:
    text, _ = text_of(path, uri)
    separator = separator_of(text.split("\n", 20)[:20])
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    except (ValueError, csv.Error):
        raise BadInput(f"{uri} is not a table with a header and rows.") from None
    bad = next((i for i, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if bad is not None or not rows:
        what = f"row {bad} has not {len(header)} cells" if rows else "there are no rows"
        raise BadInput(f"{uri}: {what}.")
    return header, rows


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _numeric(header: list[str], rows: list[list[str]], smiles: int) -> list[str]:
    values = np.array([[_number(cell) for cell in row] for row in rows])
    return [name for i, name in enumerate(header) if i != smiles and np.isfinite(values[:, i]).all()]


def _one_hot(value: int, size: int) -> list[float]:
    return [float(min(value, size - 1) == i) for i in range(size)]


def atoms_and_bonds(molecule: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return atom features ``(N, 62)``, bonds both ways ``(2, E)`` and their features ``(E, 6)``."""
    from rdkit.Chem import BondType, ValenceType

    atoms = []
    for atom in molecule.GetAtoms():
        symbol = atom.GetSymbol()
        element = ELEMENTS.index(symbol) if symbol in ELEMENTS else len(ELEMENTS)
        atoms.append(
            _one_hot(element, len(ELEMENTS) + 1)
            + _one_hot(atom.GetDegree(), 6)
            + _one_hot(atom.GetTotalNumHs(), 5)
            + _one_hot(atom.GetValence(ValenceType.IMPLICIT), 6)
            + [float(atom.GetIsAromatic())]
        )
    kinds = (BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE, BondType.AROMATIC)
    ends, bonds = [], []
    for bond in molecule.GetBonds():
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        features = [float(bond.GetBondType() == kind) for kind in kinds]
        features += [float(bond.GetIsConjugated()), float(bond.IsInRing())]
        ends += [(a, b), (b, a)]
        bonds += [features, features]
    pairs = np.array(ends, np.int64).reshape(-1, 2).T
    values = np.array(bonds, np.float32).reshape(-1, BOND_FEATURES)
    order = np.lexsort((pairs[1], pairs[0]))
    return np.array(atoms, np.float32), pairs[:, order], values[order]


def join_molecules(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[pyg.Data, np.ndarray]:
    ptr = np.concatenate([[0], np.cumsum([len(atoms) for atoms, _, _ in parts])])
    pairs = np.concatenate([pairs + start for (_, pairs, _), start in zip(parts, ptr, strict=False)], axis=1)
    graph = pyg.Data(
        x=torch.from_numpy(np.concatenate([atoms for atoms, _, _ in parts])),
        edge_index=torch.from_numpy(pairs),
        edge_attr=torch.from_numpy(np.concatenate([bonds for _, _, bonds in parts])),
    )
    return graph, ptr
