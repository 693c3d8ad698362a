"""The result of a run of record, as it is written: scores by arm, margins over rivals, and the verdict."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from vergence import catalog
from vergence.benchmarks.arms import PAPER, RAW, UNTRAINED, Trained
from vergence.benchmarks.environment import machine, versions
from vergence.benchmarks.paired_difference import margin, not_beaten, summary
from vergence.benchmarks.record import ENOUGH_SEEDS, Comparison, Mechanism, Record
from vergence.benchmarks.tasks import Metric

Scores = dict[tuple[str, int], dict[str, float]]
"""(arm, seed) -> its number by each metric that it has."""


def title(record: Record) -> dict[str, Any]:
    """Return what every result begins with."""
    paper = catalog.find(record.key)
    return {"key": record.key, "title": paper.title, "arxiv": paper.arxiv, "claim": record.claim}


def data_results(record: Record, scores: Scores, seconds: float) -> list[dict[str, Any]]:
    """Return a result for each of the task's metrics; the seconds stand in the first."""
    train, test = record.task.whole() if record.task.whole else record.task.data(record.seeds[0])
    common = {"train": len(train), "test": len(test), **_training(record)}
    results = [
        {**title(record), **common, **_judged(record, metric, scores)} for metric in record.task.metrics
    ]
    for place, (result, metric) in enumerate(zip(results, record.task.metrics, strict=True)):
        result["claim"] = metric.claim or record.claim
        notes = [metric.note or (record.note if place == 0 else ""), result["note"]]
        result["note"] = " ".join(filter(None, notes))
        result["seconds"] = round(seconds) if place == 0 else 0
    return results


def mechanism_result(mechanism: Mechanism, scores: Scores, seconds: float) -> dict[str, Any]:
    """Return the arms' scores in the world, and whether the paper's is clearly ahead of every rival.

    What the first metric says counts; what further ones say stands under "also".
    """
    first, *further = (_in_world(mechanism, metric, scores) for metric in mechanism.task.metrics)
    return {
        "world": mechanism.world,
        "seeds": list(mechanism.seeds),
        **first,
        **({"also": further} if further else {}),
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds, 1),
    }


def _in_world(mechanism: Mechanism, metric: Metric, scores: Scores) -> dict[str, Any]:
    values = _values(mechanism, metric, scores)
    margins = _margins(values, metric) if PAPER in values else {}
    rivals = [rival for rival in mechanism.all_rivals if rival in margins]
    enough = len(set(mechanism.seeds)) >= ENOUGH_SEEDS
    return {
        "metric": metric.name,
        "less_is_better": metric.less_is_better,
        "arms": {arm: summary(by_seed) for arm, by_seed in values.items()},
        "rivals": rivals,
        "margins": {rival: margins[rival] for rival in rivals},
        "clear": enough and bool(rivals) and all(margins[rival]["low"] > 0 for rival in rivals),
    }


def _values(comparison: Comparison, metric: Metric, scores: Scores) -> dict[str, list[float]]:
    """Return arm -> its numbers, one a seed, of the arms that have this metric."""
    having = [arm for arm in comparison.arms if metric.name in scores[arm, comparison.seeds[0]]]
    return {arm: [scores[arm, seed][metric.name] for seed in comparison.seeds] for arm in having}


def _margins(values: dict[str, list[float]], metric: Metric) -> dict[str, dict[str, float]]:
    sign = -1.0 if metric.less_is_better else 1.0
    signed = {arm: [sign * value for value in scores] for arm, scores in values.items()}
    return {arm: margin(signed[PAPER], signed[arm]) for arm in signed if arm != PAPER}


def _judged(record: Record, metric: Metric, scores: Scores) -> dict[str, Any]:
    values = _values(record, metric, scores)
    margins = _margins(values, metric)
    rivals = [rival for rival in record.all_rivals if rival in margins]
    counted = {arm: margins[arm] for arm in (*rivals, UNTRAINED, RAW) if arm in margins}
    return {
        "source": record.task.source,
        "seeds": list(record.seeds),
        "metric": metric.name,
        "less_is_better": metric.less_is_better,
        "arms": {arm: summary(by_seed) for arm, by_seed in values.items() if arm not in (UNTRAINED, RAW)},
        "untrained": summary(values[UNTRAINED]) if UNTRAINED in values else None,
        "raw_features": summary(values[RAW]) if RAW in values else None,
        "margins": margins,
        "rivals": rivals,
        "verdicts": {
            "beats_untrained": margins[UNTRAINED]["low"] > 0 if UNTRAINED in margins else None,
            "beats_raw": margins[RAW]["low"] > 0 if RAW in margins else None,
            "beats_rivals": all(margins[arm]["low"] > 0 for arm in rivals) if rivals else None,
        },
        "note": " ".join(not_beaten(counted, points=not metric.less_is_better)),
        "date": datetime.date.today().isoformat(),
        "command": f"vergence bench {record.key}",
        "versions": versions(),
        "machine": machine(),
    }


def _training(record: Record) -> dict[str, Any]:
    """Return how the paper's arm is trained, where it is, and in what the other trained arms differ."""
    trained = {name: arm.training for name, arm in record.arms.items() if isinstance(arm, Trained)}
    if PAPER not in trained:
        return {}
    ours = dataclasses.asdict(trained[PAPER])
    others = {name: dataclasses.asdict(training) for name, training in trained.items()}
    own = {name: {k: v for k, v in theirs.items() if v != ours[k]} for name, theirs in others.items()}
    return {"training": ours, "own_training": {name: differs for name, differs in own.items() if differs}}
