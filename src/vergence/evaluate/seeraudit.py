"""Vision Models Are More Robust And Fair When Pretrained On Uncurated Images Without Supervision.

arXiv:2202.08360. Goyal, Duval, Seessel, Caron, Misra, Sagun, Joulin, Bojanowski 2022. What is here is the
protocol, to be run on any encoder: how it does by group, under shift, on edited copies, in retrieval and by
place. The model is ``seer``.

Differs from the paper: outcomes are those of a linear probe on the data at hand, in place of classes of
ImageNet and hashtags; shift is corruption, in place of re-collected sets; a group's gap is that of two groups
which one half of the samples names and the other half judges, so that groups drawn at random have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from vergence.core import BadInput, unknown
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.side_table import side_columns
from vergence.data.targets import Values
from vergence.engine import Run, embed
from vergence.engine.embedding import Embeddings
from vergence.engine.encoders import encoder_for
from vergence.evaluate.inputs import stratified
from vergence.evaluate.protocols.corruptions import probe_answer, right_when_corrupted
from vergence.evaluate.protocols.isc2021 import embed_pixels
from vergence.evaluate.protocols.linear import Softmax, fit_probe
from vergence.evaluate.score import Score, mean_score
from vergence.nets.image_encoder import image_size
from vergence.use.topk import topk
from vergence.views.pixels.copies import Copies

FEW = 30  # samples below which a group is shown, and compared with none
REACH_KM = (25, 200, 750, 2500)
EARTH_KM = 6371.0
SHOWN = 20  # groups that an error names at most
JUDGED = 0.3  # of the samples; the others teach the probe
HALVINGS = 16  # of each resample
_BLOCK = 1 << 22  # numbers held at a time while resampling
LIMITS = (
    "A gap says that this encoder, with this probe, on these samples, does better for one group than for "
    "another. It does not say why, nor what it would do elsewhere. And where no gap is found, that is no "
    "proof of fairness: groups that nobody named, labels that are wrong more often for one group than for "
    "another, and uses other than these stay unseen. Every measure has a 95 % interval of its own: of twenty "
    "measures one shows a gap by chance."
)


@dataclass(frozen=True)
class Gap:
    """How far groups are apart by one measure.

    Args:
        measure: What was counted of each sample.
        by_group: Share of each group, by name; too small groups included.
        highest: The group with the largest share, of those that are large enough.
        lowest: The group with the smallest.
        gap: Highest less lowest, with its 95 % interval; around 0 where groups are drawn at random. None
            where fewer than two groups are large enough.
    """

    measure: str
    by_group: Mapping[str, Score]
    highest: str
    lowest: str
    gap: Score | None

    @property
    def found(self) -> bool:
        """Whether the interval of the gap is clear of 0."""
        return self.gap is not None and self.gap.low > 0


@dataclass(frozen=True)
class Audit:
    """What an encoder was found to do.

    Args:
        overall: Measure -> share over all judged samples.
        gaps: One a measure.
        sizes: Group -> judged samples.
        limits: What such figures cannot say.
    """

    overall: Mapping[str, Score]
    gaps: Sequence[Gap]
    sizes: Mapping[str, int]
    limits: str = field(default=LIMITS, repr=False)

    @property
    def few(self) -> list[str]:
        """Groups too small to be compared."""
        return [name for name, size in self.sizes.items() if size < FEW]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "few": self.few}


def audit(
    encoder: Run | nn.Module | str | Path,
    source: Any,
    groups: str | Sequence[str],
    *,
    watched: Sequence[str] = (),
    confidence: float = 0.5,
    places: str | np.ndarray | None = None,
    k: int = 5,
    seed: int = 0,
) -> Audit:
    """Judge an encoder by group: right answers, neighbours, corruptions, copies, harmful mistakes, places.

    Labels teach a linear probe on seven tenths of the samples and judge it on the others. Groups do nothing
    but divide what was judged. A measure that is known of no judged sample with a group is left out.

    Args:
        encoder: A finished run or its folder, the name of an encoder with weights, or a network.
        source: Labelled samples, or what ``vergence.open`` understands.
        groups: A target of the source ("domain"), a column of a csv ("people.csv:age", see ``side_columns``),
            or the name of each sample's group, "" where unknown.
        watched: Names of classes that harm whoever is taken for one: the share of each group that is
            wrongly called so, at ``confidence`` or more, is counted.
        confidence: Probability from which on the probe's answer counts for that, in [0, 1].
        places: ``(n, 2)`` latitude and longitude in degrees, NaN where unknown, or two columns of a csv
            ("places.csv:latitude,longitude"); None leaves places out.
        k: Neighbours that are looked at, and answers that the probe may give; 1 or more.
        seed: Of the split, copies, corruptions and resamples.

    Raises:
        BadInput: If there are no labels, groups do not fit, or fewer than two groups are large enough.
    """
    source = open_source(source)
    if source.labels is None:
        raise BadInput(f"An audit needs labels for its probe, which {source.uri} does not hold.")
    if k < 1 or not 0 <= confidence <= 1:
        raise BadInput(f"An audit needs k of 1 or more and a confidence in [0, 1]; got {k} and {confidence}.")
    classes = source.classes or [str(label) for label in range(int(source.labels.max()) + 1)]
    if strange := [name for name in watched if name not in classes]:
        raise unknown("class", strange[0], classes)
    codes, names = groups_of(source, groups)
    where = _places(source, places)
    net = encoder_for(encoder, source)
    embedded = embed(net, source)
    assert embedded.labels is not None
    known = np.flatnonzero(embedded.labels >= 0)
    taught, judged = (known[part] for part in stratified(embedded.labels[known], JUDGED, seed=seed))
    group = codes[embedded.index[judged]]
    sizes = {name: int((group == i).sum()) for i, name in enumerate(names)}
    if sum(size >= FEW for size in sizes.values()) < 2:
        listed = ", ".join(f"{name}: {size}" for name, size in list(sizes.items())[:SHOWN])
        raise BadInput(f"An audit needs 2 groups of {FEW} or more judged samples; got {listed or 'none'}.")
    labels, code = torch.from_numpy(embedded.labels[taught]).unique(return_inverse=True)
    probe = fit_probe(torch.from_numpy(embedded.vectors[taught]), code, len(labels), seed=seed)
    outcomes = _answered(embedded, probe, labels, judged, classes, watched, confidence, k)
    outcomes[f"neighbours of its class among {k}"] = _alike(embedded, known, judged, k)
    if where is not None:
        outcomes |= placed(embedded.vectors, where[embedded.index], taught, judged)
    if source.modality == "image":
        outcomes |= _edited(net, source, embedded, probe, labels, judged, seed)
    outcomes = {measure: values for measure, values in outcomes.items() if known_of(values, group)}
    overall = {measure: mean_score(values[~np.isnan(values)]) for measure, values in outcomes.items()}
    gaps = [group_gap(measure, values, group, names, seed=seed) for measure, values in outcomes.items()]
    return Audit(overall, gaps, sizes)


def known_of(outcomes: np.ndarray, groups: np.ndarray) -> bool:
    """Say whether any sample has an outcome and a group."""
    return bool((~np.isnan(outcomes) & (groups >= 0)).any())


def groups_of(source: Source, groups: str | Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return each sample's group ``(n,)``, -1 where unknown, and the groups' names; see ``audit``."""
    if isinstance(groups, str) and groups in source.targets:
        target = source.target(groups)
        if not isinstance(target, Values) or target.values.is_floating_point() or target.values.ndim != 1:
            raise BadInput(f"'{groups}' of {source.uri} is no group: one class a sample is needed.")
        codes = target.values.numpy()
        return codes, list(target.names or map(str, range(int(codes.max()) + 1)))
    if isinstance(groups, str):
        path, _, column = groups.rpartition(":")
        if not path:
            has = ", ".join(source.targets) or "none"
            raise BadInput(
                f"--groups needs a target of {source.uri} (it has {has}) or FILE.csv:COLUMN; got {groups}."
            )
        groups = side_columns(path, [column], source.names)[0]
    if len(groups) != len(source):
        raise BadInput(f"An audit needs a group for each of {len(source)} samples; got {len(groups)}.")
    names = sorted(set(groups) - {""})
    place = {name: i for i, name in enumerate(names)}
    return np.array([place.get(name, -1) for name in groups]), names


def _places(source: Source, places: str | np.ndarray | None) -> np.ndarray | None:
    if isinstance(places, str):
        path, _, columns = places.rpartition(":")
        if not path or columns.count(",") != 1:
            raise BadInput(f"--places needs FILE.csv:LATITUDE,LONGITUDE; got {places}.")
        texts = side_columns(path, columns.split(","), source.names)
        try:
            places = np.array([[float(value or "nan") for value in column] for column in texts]).T
        except ValueError as error:
            raise BadInput(f"Places are degrees: {error}.") from error
    if places is not None and (
        places.shape != (len(source), 2) or (np.abs(places) > np.array([90, 360])).any()
    ):
        raise BadInput(
            f"Places are a latitude within 90 and a longitude within 360 degrees for each of {len(source)} "
            f"samples; got {places.shape} up to {np.nanmax(np.abs(places), initial=0):g}."
        )
    return places


def group_gap(
    measure: str,
    outcomes: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    *,
    repeats: int = 400,
    seed: int = 0,
) -> Gap:
    """Compare the groups that are best and worst off.

    The largest difference among many groups is above 0 even where groups mean nothing. So one random half of
    the samples says which group is highest and which is lowest, the other half how far these two are
    apart, and the other way round, over several halvings of each bootstrap resample.

    Args:
        measure: Its name.
        outcomes: ``(n,)`` in [0, 1], NaN where there is none.
        groups: ``(n,)`` numbers of groups, -1 where unknown.
        names: Of the groups.
        repeats: Resamples.
        seed: Of the resamples.
    """
    valid = ~np.isnan(outcomes) & (groups >= 0)
    outcomes, groups = outcomes[valid].astype(np.float64), groups[valid]
    member = groups[:, None] == np.arange(len(names))  # (n, G)
    size = member.sum(0)
    by_group = {
        name: mean_score(outcomes[member[:, i]], seed=seed) for i, name in enumerate(names) if size[i]
    }
    large = np.flatnonzero(size >= FEW)
    if len(large) < 2:
        return Gap(measure, by_group, "", "", None)
    member = member[:, large].astype(np.float64)
    sums = np.concatenate([member * outcomes[:, None], member], 1)  # (n, 2 G)
    rng = np.random.default_rng(seed)
    apart = np.empty(repeats)
    for part in np.array_split(np.arange(repeats), 1 + repeats * HALVINGS * len(outcomes) // _BLOCK):
        weight = rng.poisson(1.0, (len(part), 1, len(outcomes)))
        half = rng.integers(0, 2, (len(part), HALVINGS, len(outcomes)), dtype=np.int8)
        first, second = (_means((weight * side) @ sums) for side in (half, 1 - half))
        apart[part] = (_apart(first, second) + _apart(second, first)).mean(1) / 2
    shares = (member * outcomes[:, None]).sum(0) / member.sum(0)
    low, high = np.quantile(apart, (0.025, 0.975))
    gap = Score(float(apart.mean()), float(low), float(high), int(member.sum()))
    return Gap(measure, by_group, names[large[shares.argmax()]], names[large[shares.argmin()]], gap)


def _means(sums: np.ndarray) -> np.ndarray:
    """Divide the sums ``(..., 2 G)`` of outcomes by those of samples; 0 where no sample was drawn."""
    total, count = np.split(sums, 2, axis=-1)
    return total / np.maximum(count, 1)


def _apart(named: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Return how far apart the groups that ``named (..., G)`` calls highest and lowest are in ``judged``."""
    ends = np.stack([named.argmax(-1), named.argmin(-1)], -1)
    both = np.take_along_axis(judged, ends, -1)
    high: np.ndarray = both[..., 0] - both[..., 1]
    return high


def placed(
    vectors: np.ndarray, places: np.ndarray, taught: np.ndarray, judged: np.ndarray
) -> dict[str, np.ndarray]:
    """Guess that a sample was taken where its nearest neighbour was, and say how near that is.

    Args:
        vectors: ``(n, D)``.
        places: ``(n, 2)`` latitude and longitude in degrees, NaN where unknown.
        taught: Rows whose places are known to the guess.
        judged: Rows that are guessed.

    Returns:
        For each of 25, 200, 750 and 2,500 km whether the guess is no further away; NaN where unknown.
    """
    taught = taught[~np.isnan(places[taught]).any(1)]
    if not len(taught):
        raise BadInput("Places are unknown for all samples that teach; give latitude and longitude of some.")
    bank, queries = (torch.from_numpy(vectors[rows]) for rows in (taught, judged))
    nearest = topk(queries, bank, 1)[1][:, 0].cpu().numpy()
    far = kilometres(places[taught[nearest]], places[judged])
    return {
        f"placed within {reach:,} km": np.where(np.isnan(far), np.nan, far <= reach) for reach in REACH_KM
    }


def kilometres(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the great-circle distances ``(n,)`` of places ``(n, 2)`` in degrees.

    >>> kilometres(np.array([[0.0, 0.0]]), np.array([[0.0, 90.0]])).round()
    array([10008.])
    """
    (lat, lon), (other_lat, other_lon) = np.radians(first).T, np.radians(second).T
    across = np.sin((other_lat - lat) / 2) ** 2
    across += np.cos(lat) * np.cos(other_lat) * np.sin((other_lon - lon) / 2) ** 2
    return 2 * EARTH_KM * np.arcsin(np.sqrt(across.clip(0, 1)))


def _answered(
    embedded: Embeddings,
    probe: Softmax,
    known: torch.Tensor,
    judged: np.ndarray,
    classes: Sequence[str],
    watched: Sequence[str],
    confidence: float,
    k: int,
) -> dict[str, np.ndarray]:
    """Return what a linear probe answers: right, right among the first k, wrongly called a watched class."""
    assert embedded.labels is not None
    chance = probe.logits(torch.from_numpy(embedded.vectors[judged])).softmax(1)
    truth = torch.from_numpy(embedded.labels[judged])
    best = known[chance.topk(min(k, len(known))).indices]
    outcomes = {"right": best[:, 0] == truth}
    if len(known) > 2 * k:
        outcomes[f"right among the first {k}"] = (best == truth[:, None]).any(1)
    arrays = {measure: values.numpy().astype(np.float64) for measure, values in outcomes.items()}
    sure = chance.max(1).values >= confidence
    for name in watched:
        called = ((best[:, 0] == classes.index(name)) & sure).double()
        called[truth == classes.index(name)] = torch.nan  # of these it is no mistake
        arrays[f"wrongly called {name}"] = called.numpy()
    return arrays


def _alike(embedded: Embeddings, known: np.ndarray, judged: np.ndarray, k: int) -> np.ndarray:
    """Return the share of each judged sample's k nearest labelled neighbours that are of its class."""
    assert embedded.labels is not None
    bank, queries = (normalize(torch.from_numpy(embedded.vectors[rows]), dim=1) for rows in (known, judged))
    near = known[topk(queries, bank, k + 1)[1].cpu().numpy()]
    other = near != judged[:, None]
    other[other.all(1), -1] = False  # a twin took the sample's own place
    near = near[other].reshape(len(judged), -1)
    share: np.ndarray = (embedded.labels[near] == embedded.labels[judged][:, None]).mean(1)
    return share


def _edited(
    encoder: nn.Module,
    source: Source,
    embedded: Embeddings,
    probe: Softmax,
    known: torch.Tensor,
    judged: np.ndarray,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return whether corrupted pictures are still answered, and whether edited copies find their original."""
    size = image_size(encoder)
    shown = source.subset(embedded.index[judged])
    right = right_when_corrupted(encoder, probe_answer(encoder, probe, known), shown, seed=seed)
    generator, copies = torch.Generator().manual_seed(seed), Copies(size)
    bank = torch.from_numpy(embedded.vectors)
    hit = np.full(len(judged), np.nan)
    for batch in shown.loader(256, spec={"size": size}):
        vectors = torch.from_numpy(embed_pixels(encoder, copies(batch, generator).pixels))
        rows = batch.index.numpy()
        hit[rows] = topk(vectors, bank, 1)[1][:, 0].cpu().numpy() == judged[rows]
    return {"right when corrupted": right["mean"].numpy().astype(np.float64), "edited copy found": hit}
