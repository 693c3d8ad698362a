"""Click features on MovieLens-100k: do quotient and remainder keep more than hashing in as many numbers?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.environment import data_root
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.tasks import Metric, generated, opened
from vergence.core import BadInput
from vergence.data import Source
from vergence.data.events.movielens import GENRES, ITEM, USER, read_file
from vergence.data.tables import TableSchema, TableSource, from_frame
from vergence.evaluate.protocols.gradient_boosting import auc
from vergence.evaluate.score import Score
from vergence.methods.tables.ctrfeat import ClickEncoder, ClickThrough
from vergence.methods.tables.fields import QuotientRemainder, fm

LIKED = 4  # stars
LAST = 0.2  # share of the ratings, the latest, that judge
RANDOM = 3  # fields that say nothing
VALUES, SEEN, JUDGED, WORLD_EPOCHS = 600, 20_000, 5_000, 4  # of generated clicks


@cache
def clicks(noise: int = 0) -> tuple[TableSource, TableSource]:
    """Return the earlier and the later ratings as clicks: 4 stars or more.

    Args:
        noise: Random fields of 100 values that are appended.
    """
    folder = data_root() / "movielens-100k"
    if not (folder / "u.data").is_file():
        raise BadInput(f"The run of record of ctrfeat needs MovieLens-100k in {folder}; set VERGENCE_DATA.")
    ratings = read_file(folder / "u.data", ("user", "item", "rating", "timestamp"))
    ratings = ratings.take(pc.sort_indices(ratings, [("timestamp", "ascending"), ("user", "ascending")]))
    users, films = read_file(folder / "u.user", USER), read_file(folder / "u.item", ITEM)
    user = users.take(pc.index_in(ratings["user"], value_set=users["user"].combine_chunks()))
    film = films.take(pc.index_in(ratings["item"], value_set=films["item"].combine_chunks()))
    flags = np.stack([film[genre].to_numpy() for genre in GENRES], 1) @ (1 << np.arange(len(GENRES)))
    columns: dict[str, Any] = {
        "user": ratings["user"],
        "item": ratings["item"],
        "gender": user["gender"],
        "age": user["age"].to_numpy() // 10,
        "job": user["occupation"],
        "zip": pc.utf8_slice_codeunits(user["zip"].cast(pa.string()), 0, 2),
        "genres": flags,
        "hour": ratings["timestamp"].to_numpy() // 3600 % 24,
    }
    random = np.random.default_rng(0)
    columns |= {f"random {i}": random.integers(0, 100, len(ratings)) for i in range(noise)}
    schema = TableSchema(label="liked", categorical=tuple(columns), numeric=())
    liked = (ratings["rating"].to_numpy() >= LIKED).astype(np.int64)
    whole = from_frame(pa.table({**columns, "liked": liked}), schema, name="movielens clicks")
    first = round((1 - LAST) * len(whole))
    return whole.subset(np.arange(first)), whole.subset(np.arange(first, len(whole)))


def clicked(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Return the AUC of the later clicks."""
    assert isinstance(encoder, ClickEncoder) and isinstance(test, TableSource) and test.labels is not None
    with torch.no_grad():
        logit = encoder.eval().logit(test.batch(np.arange(len(test))))
    return auc(logit.numpy(), test.labels == 1)


def told_apart(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
    """Return the share of the random fields among the last ones: by gates, else by length of the vectors."""
    assert isinstance(encoder, ClickEncoder) and isinstance(test, TableSource)
    if encoder.gates is not None:
        worth = encoder.gates.open
    else:
        with torch.no_grad():
            worth = encoder.eval().vectors(test.batch(np.arange(len(test)))).norm(dim=2).mean(0)
    last = worth.argsort()[:RANDOM]
    return float((last >= len(worth) - RANDOM).float().mean())


def trained(**options: Any) -> Training:
    """Return the training of an encoder with these options."""
    every = {"core": "deepfm", "dim": 8, "ratio": 8.0, "table": "quotient", **options}
    return Training(
        "vergence.methods.tables.ctrfeat:ClickEncoder", every, epochs=2, batch=1024, settings={"lr": 1e-2}
    )


def composed(**options: Any) -> dict[str, Any]:
    """Return the arms of three tables; the full one is 8 times larger, no rival."""
    train = trained(**options)
    return {
        "paper": train(ClickThrough),
        "hashing, equal size": train(ClickThrough, options={"table": "hash"}),
        "full table": train(ClickThrough, options={"table": "full"}),
        "untrained": train.untrained,
    }


def habits(source: None, seed: int) -> tuple[TableSource, TableSource]:
    """Generate clicks whose odds are the sum of what each user and each film is like, of many of both."""
    random = np.random.default_rng(seed)
    user, film = random.integers(VALUES, size=(2, SEEN + JUDGED))
    odds = 2 * (random.normal(size=VALUES)[user] + random.normal(size=VALUES)[film])
    liked = (random.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    schema = TableSchema(label="liked", categorical=("user", "film"), numeric=())
    whole = from_frame(pa.table({"user": user, "film": film, "liked": liked}), schema, name="habits")
    return whole.subset(np.arange(SEEN)), whole.subset(np.arange(SEEN, SEEN + JUDGED))


def second() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare vectors of quotient and remainder, and a factorisation machine, with loops, in float64."""
    for seed, values, rows in ((0, 50, 20), (1, 103, 24), (2, 700, 88)):
        torch.manual_seed(seed)
        table = QuotientRemainder(values, 4, rows).double()
        first, second = table.quotient.weight.detach().numpy(), table.remainder.weight.detach().numpy()
        ours = table(torch.arange(values)).detach().numpy()
        yield ours, np.stack([first[v // table.divisor] * second[v % table.divisor] for v in range(values)])
        x = torch.randn(6, 5, 4, dtype=torch.float64)
        pairs = [sum(row[i] @ row[j] for i in range(5) for j in range(i + 1, 5)) for row in x.numpy()]
        yield fm(x).numpy(), np.array(pairs)


habitual = trained(table="quotient")
MECHANISM = Mechanism(
    f"{SEEN:,} clicks by {VALUES:,} users on as many films, drawn at random; the odds are the sum of a "
    f"number of the user and one of the film, {JUDGED:,} others judge. Tables are 8 times smaller than users "
    "and films are many. DeepFM learns. Hashed, eight that have nothing in common share a row, and their "
    "mean is what is learned; quotient and remainder together are another pair for each. The full table has "
    "8 times the numbers, no rival. Core, epochs and rows were chosen on seeds 100 and 101.",
    task=generated(habits, Metric("AUC of other clicks", clicked)),
    arms={
        "paper": habitual(ClickThrough, epochs=WORLD_EPOCHS),
        "hashing, equal size": habitual(ClickThrough, epochs=WORLD_EPOCHS, options={"table": "hash"}),
        "full table": habitual(ClickThrough, epochs=WORLD_EPOCHS, options={"table": "full"}),
        "untrained": habitual.untrained,
    },
    rivals=("hashing, equal size",),
)
PARITY = Parity(
    "second",
    "vectors of quotient and remainder one value at a time, and the sum over all pairs of fields, in float64",
    compare=second,
)

MOVIELENS = "movielens:movielens-100k"
CLAIM = "Quotient and remainder tell all values apart, which hashing into as many rows does not."
gated = trained(table="full", gates=True)

RECORD = Record(
    key="ctrfeat",
    claim=CLAIM,
    task=opened(
        MOVIELENS,
        Metric("AUC of the latest 20 % of the ratings, DeepFM", clicked),
        deal=lambda source, seed: clicks(),
    ),
    arms=composed(),
    rivals=("hashing, equal size",),
    note="4 stars or more are a click; user, item, gender, age, job, zip, genres and hour as categories; "
    "tables of more than 100 values are made 8 times smaller. The full table is 8 times larger, no rival.",
    also=(
        Record(
            key="ctrfeat",
            claim=CLAIM,
            task=opened(
                MOVIELENS,
                Metric("the same with a factorisation machine alone", clicked),
                deal=lambda source, seed: clicks(),
            ),
            arms=composed(core="fm"),
            rivals=("hashing, equal size",),
        ),
        Record(
            key="ctrfeat",
            claim="Learned gates find the fields that say nothing.",
            task=opened(
                MOVIELENS,
                Metric("share of three random fields in the last three places", told_apart),
                Metric("AUC with three random fields", clicked),
                deal=lambda source, seed: clicks(RANDOM),
            ),
            arms={
                "paper": gated(ClickThrough),
                "no gates": gated(ClickThrough, options={"gates": False}),
                "untrained": gated.untrained,
            },
            note="Three fields of 100 random values beside the eight; without gates, fields are ranked by "
            "the length of their vectors.",
        ),
    ),
    mechanism=MECHANISM,
    parity=PARITY,
)
