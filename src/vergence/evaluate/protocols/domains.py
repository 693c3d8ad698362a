"""Leave one domain out: what is learned from all other domains, judged on the one left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vergence.core import BadInput
from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.protocols.linear import linear
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels", "domain")


def leave_one_domain_out(
    train_x: Array,
    train_y: Array,
    train_domain: Array,
    test_x: Array,
    test_y: Array,
    test_domain: Array,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Score]:
    """Judge a linear probe of all domains but one on the test samples of that one, for each in turn.

    Args:
        train_x: ``(N, D)`` features.
        train_y: ``(N,)`` labels, at least 0.
        train_domain: ``(N,)`` whole numbers; below 0 leaves a sample out.
        test_x: ``(Q, D)`` features.
        test_y: ``(Q,)`` labels.
        test_domain: ``(Q,)``.
        names: Of the domains; None numbers them.
        seed: Of the probe's held-out fifth.

    Returns:
        A score by the name of each domain left out, and "mean", with the bootstrap's interval over domains.

    Raises:
        BadInput: If there are fewer than two domains.
    """
    x, y = labelled(train_x, train_y, "leave_one_domain_out")
    z, truth = labelled(test_x, test_y, "leave_one_domain_out")
    first, second = (np.asarray(part) for part in (train_domain, test_domain))
    domains = sorted(set(first[first >= 0].tolist()) & set(second[second >= 0].tolist()))
    if len(domains) < 2:
        raise BadInput(
            f"leave_one_domain_out needs 2 or more domains to learn from and judge by; got {domains}."
        )
    scores = {}
    for domain in domains:
        taught, judged = (first >= 0) & (first != domain), second == domain
        name = str(domain) if names is None else names[domain]
        scores[name] = linear(x[taught], y[taught], z[judged], truth[judged], seed=seed)
    mean = mean_score(np.array([score.value for score in scores.values()]), note=f"{len(domains)} domains")
    return {**scores, "mean": mean}


def _domains(split: Split, seed: int) -> Scores:
    train, test = split.train_embeddings, split.test_embeddings
    first = split.train.target("domain", train.index)
    second = split.test.target("domain", test.index)
    scores = leave_one_domain_out(
        train.vectors, split.train_y, first.values, test.vectors, split.test_y, second.values,  # type: ignore[attr-defined]
        names=first.names, seed=seed,  # type: ignore[attr-defined]
    )  # fmt: skip
    for name, score in scores.items():
        yield ("domains left out, mean" if name == "mean" else f"domain left out: {name}"), score


PROTOCOLS = {"domains": _domains}
