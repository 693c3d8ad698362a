"""Near-duplicates in a store: by a calibrated rule, a least cosine, a perceptual hash, or equal pictures."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from vergence.core.errors import BadInput, unknown
from vergence.store.table import Store
from vergence.use.calibrated import calibrated_pairs
from vergence.use.nearest import background_vectors, opened, present_directions
from vergence.use.pairs import Duplicates, near_pairs, near_pairs_ivf, stars
from vergence.use.phash import perceptual_hash
from vergence.use.picture_waves import grey_pictures, thumbnails
from vergence.use.score_normalisation import background_level
from vergence.use.topk import as_tensor

EXACT_UP_TO = 200_000  # samples up to which all pairs are compared by cosine, and pictures are looked at
ALL_UP_TO = 20_000  # samples up to which neighbours are looked for among all
By = Literal["neighbours", "cosine", "hash", "pixels"]
_COSINE, _SCORE = 0.95, 0.35  # thresholds, the latter of scores relative to a background
_BITS = 64  # of a perceptual hash
_DIFFERENT = 2  # of them that may differ


def duplicates(
    store: Store | str | Path,
    *,
    by: By | None = None,
    threshold: float | None = None,
    chance: float = 0.05,
    column: str = "vector",
    limit: int = 1_000_000,
    background: Store | str | Path | None = None,
    exact: bool | None = None,
) -> Duplicates:
    """Find the samples that are nearly the same.

    ``"neighbours"``, the default, needs no threshold: a pair is found where chance does not explain that both
    are so near each other, in the vectors or, up to 200,000 samples, in their small pictures
    (``use.calibrated``). The command, the report and the studio ask for this.

    Up to 20,000 samples, by cosine up to 200,000, nothing is approximated. In larger stores only samples of
    neighbouring cells are compared, and ``recall`` says what that finds. Memory does not grow with the number
    of comparisons.

    Args:
        store: Opened, or where it lies.
        by: ``"neighbours"``; ``"cosine"``, of at least ``threshold``, the default where a threshold or a
            background is given; ``"hash"``, perceptual hashes of the small pictures or their mirror images
            that differ in at most ``threshold`` of 64 bits; ``"pixels"``, small pictures that are the same.
        threshold: A cosine in (0, 1], which is 1 of two vectors of zeros; None takes 0.95, with a background
            0.35; by hash 0 to 63 bits, None takes 2.
        chance: By neighbours: the share of the rows found that may be there by chance, in (0, 1).
        column: Which vectors to compare.
        limit: Pairs that are listed, the surest.
        background: By cosine: a store of samples from elsewhere, which cannot match. A pair's level, the mean
            of both samples' as in ``search``, is taken off its cosine before it is compared with the
            threshold. What is like everything is then no copy of anything.
        exact: True compares all samples however many there are, False those of neighbouring cells; None
            lets their number decide.

    Raises:
        BadInput: If the threshold is out of range, does not go with ``by``, there are no pictures to compare,
            too few rows or only equal ones to tell what chance is, or the store or column does not exist.
    """
    store = opened(store)
    given = threshold is not None or background is not None
    by = by or ("cosine" if given else "neighbours")
    if by not in get_args(By):
        raise unknown("way to find duplicates", by, get_args(By))
    if by in ("neighbours", "pixels") and given:
        raise BadInput(f"A threshold or background goes with by='cosine'; by='{by}' needs none.")
    if by == "hash":
        return _by_hash(store, _DIFFERENT if threshold is None else threshold, limit)
    if by == "pixels":
        return _by_pixels(store, limit)
    everything = exact or (exact is None and len(store) <= (EXACT_UP_TO if by == "cosine" else ALL_UP_TO))
    if by == "cosine":
        return _by_cosine(store, threshold, column, limit, background, everything)
    if not 0 < chance < 1:
        raise BadInput(f"chance is the share of the rows found that may be chance, in (0, 1); got {chance}.")
    pictures = _pictures(store) if len(store) <= EXACT_UP_TO else None
    return calibrated_pairs(store.vectors(column), pictures, chance=chance, limit=limit, cells=not everything)


def _by_cosine(
    store: Store,
    threshold: float | None,
    column: str,
    limit: int,
    background: Store | str | Path | None,
    everything: bool,
) -> Duplicates:
    if threshold is None:
        threshold = _COSINE if background is None else _SCORE
    if not 0 < threshold <= 1:
        raise BadInput(f"threshold is a cosine in (0, 1]; got {threshold}.")
    unit = store.directions(column)
    level = None
    if background is not None:
        level = background_level(as_tensor(unit), background_vectors(background, store, column))
    if everything:
        return near_pairs(as_tensor(_with_zeros(unit)), threshold=threshold, limit=limit, level=level)
    rows, unit = present_directions(store, column)
    levels = None if level is None else level.cpu().numpy()[rows]
    copies = near_pairs_ivf(_with_zeros(unit), threshold=threshold, limit=limit, level=levels)
    return replace(copies, pairs=rows[copies.pairs], groups=[rows[group] for group in copies.groups])


def _with_zeros(unit: np.ndarray) -> np.ndarray:
    """Give rows of zeros, which have no direction, one of their own: they are copies of each other."""
    zero = ~unit.any(1)
    return np.column_stack([unit, zero]).astype(np.float32) if zero.any() else unit


def _pictures(store: Store) -> np.ndarray | None:
    """Return the small grey pictures ``(n, 32, 32)``, or None where no row has one."""
    if not len(store.where("thumbnail IS NOT NULL")):
        return None
    return store.once("grey pictures", lambda: grey_pictures(store))


def _by_hash(store: Store, bits: float, limit: int) -> Duplicates:
    """Compare each picture's hash with all others and their mirror images'."""
    if not (0 <= bits < _BITS and bits == int(bits)):
        raise BadInput(f"By hash the threshold is a number of bits, 0 to {_BITS - 1}; got {bits}.")
    pictures = _pictures(store)
    if pictures is None:
        raise BadInput(f"{store.path} has no small pictures to compare by hash.")
    grey = as_tensor(pictures, move=False)[:, None].expand(-1, 3, -1, -1)
    hashes = torch.cat([perceptual_hash(grey), perceptual_hash(grey.flip(3))])
    n = len(pictures)
    hashes[np.isnan(np.concatenate([pictures[:, 0, 0]] * 2))] = torch.nan
    near = near_pairs(hashes, threshold=1 - bits / (_BITS / 2) - 1 / _BITS, limit=4 * limit)
    ends = np.sort(near.pairs % n, axis=1)
    rows, first = np.unique(ends, axis=0, return_index=True)  # a pair, and its mirror images: the nearest
    order = np.argsort(first, kind="stable")
    order = order[rows[order, 0] < rows[order, 1]]
    pairs, similarity = rows[order], near.similarity[first[order]]
    return Duplicates(pairs[:limit], similarity[:limit], stars(pairs[:limit], n), len(pairs))


def _by_pixels(store: Store, limit: int) -> Duplicates:
    """Find small pictures that are the same byte for byte; each is paired with the first of its kind."""
    first: dict[bytes, int] = {}
    pairs = []
    for rows, files in thumbnails(store):
        for row, file in zip(rows, files, strict=True):
            if file is not None:
                origin = first.setdefault(hashlib.blake2b(file, digest_size=16).digest(), row)
                if origin != row:
                    pairs.append((origin, row))
    if not first:
        raise BadInput(f"{store.path} has no small pictures to compare.")
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    return Duplicates(
        ends[:limit], np.ones(len(ends[:limit]), np.float32), stars(ends, len(store)), len(ends)
    )
