"""QUASAR on Tiny-ImageNet: do examples of spoilt photos tell how much others are spoilt?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchvision.transforms.v2.functional import adjust_contrast, gaussian_blur

from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import simclr
from vergence.benchmarks.tasks import Arm, Metric, Task, generated, images
from vergence.evaluate.protocols.isc2021 import embed_pixels
from vergence.evaluate.score import Score
from vergence.methods.image import encoders
from vergence.use.quasar import anchors
from vergence.views.pixels.augment import plain
from vergence.views.pixels.compression import jpeg

SIZE, TRAIN, EPOCHS = 64, 6_000, 5
ANCHORS, JUDGED = 100, 200  # photos a side, and photos that are rated
WIDTH, APART = 64, 3.0  # of generated vectors, and how far subjects lie from the origin
TASK = images(
    "tiny-imagenet",
    Metric("Spearman's ρ of score and strength of damage, mean of four kinds"),
    Metric(
        "Spearman's ρ of score and strength of a damage that no anchor shows, mean of four kinds",
        claim="A kind of damage that no anchor shows is rated too.",
    ),
    train=100_000,
    test=10_000,
)
STRENGTHS = {
    "blur": (0.6, 0.9, 1.3, 1.9, 2.7),  # σ in pixels
    "noise": (0.02, 0.04, 0.08, 0.14, 0.22),  # σ of values in [0, 1]
    "jpeg": (50, 30, 18, 10, 5),  # quality
    "contrast": (0.75, 0.55, 0.4, 0.28, 0.18),  # share that is left
}


@dataclass(frozen=True, slots=True)
class Spoilt:
    """Photos as they are, and after each kind of damage at each strength; ``(n, 3, S, S)`` in [0, 1]."""

    clean: Tensor
    damaged: dict[str, list[Tensor]]


def damage(x: Tensor, kind: str, strength: float) -> Tensor:
    """Spoil photos ``(n, 3, S, S)``; noise draws from torch's default generator."""
    if kind == "blur":
        return gaussian_blur(x, [2 * round(3 * strength) + 1] * 2, [strength] * 2)
    if kind == "noise":
        return (x + strength * torch.randn_like(x)).clamp(0, 1)
    if kind == "jpeg":
        return jpeg(x, torch.full((len(x),), strength))
    return adjust_contrast(x, strength)


def spoilt(x: Tensor, seed: int) -> Spoilt:
    torch.manual_seed(seed)
    return Spoilt(
        x, {kind: [damage(x, kind, strength) for strength in all_] for kind, all_ in STRENGTHS.items()}
    )


@cache
def dealt(seed: int) -> tuple[Spoilt, Spoilt]:
    """Return the photos that become anchors and others that are rated, of the same subjects."""
    _, test = TASK.data(seed)
    rows = np.random.default_rng(seed).permutation(len(test))[: 2 * ANCHORS + JUDGED]
    x = torch.cat([plain(batch, SIZE) for batch in test.subset(rows).loader(256, spec={"size": SIZE})])
    return spoilt(x[: 2 * ANCHORS], seed), spoilt(x[2 * ANCHORS :], seed + 1000)


@cache
def encoder(trained: bool) -> nn.Module:
    """Train SimCLR on other photos, by large crops alone: the usual views teach it not to see damage."""
    if not trained:
        torch.manual_seed(0)
        return encoders.build("resnet-tiny", size=SIZE, width=32).eval()
    crops = {"jitter_p": 0.0, "grey": 0.0, "blur": 0.0, "scale": (0.7, 1.0)}
    train = TASK.data(0)[0].subset(np.arange(TRAIN))
    return simclr(train, epochs=EPOCHS, seed=0, size=SIZE, views=crops, encoder_options={"width": 32})


@cache
def seen(seed: int, trained: bool) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return vectors of anchors and of rated photos: clean ``(n, D)``, a damage ``(strengths, n, D)``."""
    net = encoder(trained)

    def of(part: Spoilt) -> dict[str, np.ndarray]:
        worse = {kind: np.stack([embed_pixels(net, x) for x in all_]) for kind, all_ in part.damaged.items()}
        return {"clean": embed_pixels(net, part.clean), **worse}

    with torch.no_grad():
        anchored, rated = (of(part) for part in dealt(seed))
    return anchored, rated


Rate = Callable[[np.ndarray], np.ndarray]
Making = Callable[[np.ndarray, np.ndarray, int], Rate]


def judged(seed: int, make: Making, *, trained: bool = True, known: bool) -> float:
    """Return Spearman's ρ of score and quality, mean over the kinds of damage.

    Args:
        seed: Of photos, noise and anchors.
        make: (good vectors, bad vectors, seed) -> the score.
        trained: Whose vectors.
        known: Whether the bad anchors show all kinds of damage, or all but the one that is judged.
    """
    anchored, rated = seen(seed, trained)
    random = np.random.default_rng(seed)
    good = anchored["clean"][:ANCHORS]
    correlations = []
    for kind in STRENGTHS:
        kinds = [other for other in STRENGTHS if known or other != kind]
        bad = np.stack(
            [
                anchored[kinds[random.integers(len(kinds))]][random.integers(2, 5), row]
                for row in range(ANCHORS, 2 * ANCHORS)
            ]
        )
        score = make(good, bad, seed)
        scores = np.stack([score(rated["clean"]), *(score(x) for x in rated[kind])])
        correlations.append(quality_correlation(scores))
    return float(np.mean(correlations))


def quality_correlation(scores: np.ndarray) -> float:
    """Return Spearman's ρ of scores ``(strengths, n)`` and quality, the first row the best."""
    return spearmanr(scores.ravel(), -np.arange(len(scores)).repeat(scores.shape[1])).statistic


def of_anchors(good: np.ndarray, bad: np.ndarray, seed: int) -> Rate:
    return anchors(good, bad).score


def shuffled(good: np.ndarray, bad: np.ndarray, seed: int) -> Rate:
    every = np.random.default_rng(seed).permutation(np.concatenate([good, bad]))
    return anchors(every[: len(good)], every[len(good) :]).score


def good_alone(good: np.ndarray, bad: np.ndarray, seed: int) -> Rate:
    """The cosine to the mean of the good anchors only."""
    plus = anchors(good, -good).good

    def score(x: np.ndarray) -> np.ndarray:
        return x @ plus / np.maximum(np.linalg.norm(x, axis=1), 1e-12)

    return score


def sharpness(seed: int) -> float:
    """The same ρ by the variance of the Laplacian of brightness, which needs no anchors."""
    _, rated = dealt(seed)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]

    def score(x: Tensor) -> np.ndarray:
        return torch.conv2d(x.mean(1, keepdim=True), kernel).var((1, 2, 3)).numpy()

    damages = rated.damaged.values()
    of_each = (np.stack([score(rated.clean), *(score(x) for x in all_)]) for all_ in damages)
    return float(np.mean([quality_correlation(scores) for scores in of_each]))


def rating(make: Making, *, trained: bool = True) -> Arm:
    """Return the arm of a score: for kinds of damage that anchors show, and for one that none shows."""

    def arm(task: Task, seed: int) -> dict[str, Score | float]:
        both = (judged(seed, make, trained=trained, known=known) for known in (True, False))
        return task.scores(*both)

    return arm


def laplacian(task: Task, seed: int) -> dict[str, Score | float]:
    return task.scores(*[sharpness(seed)] * 2)


@dataclass(frozen=True, slots=True)
class Examples:
    """Generated vectors of photos.

    Args:
        good: ``(m, D)``, whole ones.
        bad: ``(m, D)``, spoilt ones of the same subjects.
        elsewhere: ``(m, D)``, spoilt ones of half of the subjects.
        rated: ``(strengths, n, D)``, the least spoilt first.
    """

    good: np.ndarray
    bad: np.ndarray
    elsewhere: np.ndarray
    rated: np.ndarray


def drawn(source: None, seed: int) -> tuple[Examples, Examples]:
    """Generate photos of ten subjects that lie far apart, along one direction by how much they are spoilt."""
    random = np.random.default_rng(seed)
    centres = APART * _long(random.normal(size=(10, WIDTH)))
    worse = _long(random.normal(size=WIDTH))

    def photos(subject: np.ndarray, strength: np.ndarray) -> np.ndarray:
        own = random.normal(size=(len(subject), WIDTH)) / WIDTH**0.5
        return (centres[subject] + own + strength[:, None] * worse).astype(np.float32)

    every, few = np.arange(ANCHORS) % 10, np.arange(ANCHORS) % 5
    subject = random.integers(10, size=JUDGED)
    examples = Examples(
        good=photos(every, np.zeros(ANCHORS)),
        bad=photos(every, random.uniform(0.5, 1, ANCHORS)),
        elsewhere=photos(few, random.uniform(0.5, 1, ANCHORS)),
        rated=np.stack([photos(subject, np.full(JUDGED, s)) for s in np.linspace(0, 1, 6)]),
    )
    return examples, examples


def _long(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def principal(good: np.ndarray, bad: np.ndarray, seed: int) -> Rate:
    """The place along the direction in which the anchors vary most, the good ones' side up."""
    every = _long(np.concatenate([good, bad]))
    mean = every.mean(0)
    axis = np.linalg.svd(every - mean, full_matrices=False)[2][0]
    sign = np.sign(axis @ (_long(good).mean(0) - _long(bad).mean(0)))
    return lambda x: np.asarray(sign * (_long(x) - mean) @ axis)


def placed(make: Making, *, same: bool = True) -> Arm:
    """Return the arm of a score on generated vectors, by anchors of the same subjects or not."""

    def arm(task: Task, seed: int) -> float:
        x: Examples = task.data(seed)[0]
        rate = make(x.good, x.bad if same else x.elsewhere, seed)
        return quality_correlation(np.stack([rate(part) for part in x.rated]))

    return arm


def second() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare scores with the softmax of the cosines to both mean directions over t, in float64."""
    random = np.random.default_rng(0)
    for t in (0.01, 0.1, 1.0):
        good, bad, x = (random.normal(size=(n, 24)) for n in (40, 30, 200))
        plus, minus = (_long(_long(side).mean(0)) for side in (good, bad))
        powers = np.stack([_long(x) @ plus, _long(x) @ minus]) / t
        powers = np.exp(powers - powers.max(0))
        yield anchors(good, bad, temperature=t).score(x), powers[0] / powers.sum(0)


MECHANISM = Mechanism(
    f"{WIDTH} numbers a photo: ten subjects {APART:.0f} from the origin in random directions, what is a "
    "photo's own (length about 1), and one direction along which it lies by how much it is spoilt, 0 to 1. "
    f"Subjects vary most; the difference of {ANCHORS} whole and {ANCHORS} spoilt examples of the same "
    f"subjects leaves only the damage. {JUDGED} others are rated at six strengths. With bad examples of half "
    "of the subjects, the score tells subjects apart. Nothing was chosen.",
    task=generated(drawn, Metric("Spearman's ρ of score and strength of damage")),
    arms={
        "paper": placed(of_anchors),
        "anchors shuffled": placed(shuffled),
        "good anchors only": placed(good_alone),
        "bad anchors of other subjects": placed(of_anchors, same=False),
        "first principal component of the anchors": placed(principal),
    },
)
PARITY = Parity(
    "second",
    "the softmax of both cosines over t, written out in float64; ours computes in float32 and, of the two "
    "exponentials, only the logistic function of their difference",
    compare=second,
)

RECORD = Record(
    key="quasar",
    claim="Examples of good and of spoilt photos rate others without training or prompts.",
    task=TASK,
    arms={
        "paper": rating(of_anchors),
        "anchors shuffled": rating(shuffled),
        "good anchors only": rating(good_alone),
        "untrained": rating(of_anchors, trained=False),
        "variance of the Laplacian": laplacian,
    },
    note=f"{ANCHORS} whole and {ANCHORS} spoilt photos of Tiny-ImageNet as anchors, {JUDGED} others rated "
    "as they are and with blur, noise, JPEG and less contrast at five strengths. Encoder: SimCLR by large "
    f"crops alone (resnet-tiny of width 32, {EPOCHS} epochs on {TRAIN:,} photos), trained once. The paper "
    "has large pretrained encoders and the opinions of people.",
    mechanism=MECHANISM,
    parity=PARITY,
)
