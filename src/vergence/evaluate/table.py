"""The table of ``measure``: how good a representation is, beside what it has to beat."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable
from torch import nn

from vergence.core.errors import BadInput, unknown
from vergence.core.modality import find_modality
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine.encoders import encoder_for
from vergence.engine.files import first_line, write_text
from vergence.engine.run import Run
from vergence.evaluate.baselines import (
    LEARNED,
    PIXELS,
    UNTRAINED,
    Split,
    baselines,
    beside,
    features,
)
from vergence.evaluate.inputs import stratified
from vergence.evaluate.protocols import known_protocols
from vergence.evaluate.score import Score

if TYPE_CHECKING:
    from rich.console import RenderableType

TEST_SHARE = 0.3
DEFAULT = ("knn", "linear", "few_shot", "retrieval", "clustering")


@dataclass
class Table:
    """Scores of several representations of the same data.

    Args:
        rows: Name of the representation -> name of the column -> score. A column that could not be
            measured is missing.
        about: What was measured: source, sizes, seed, seconds.
    """

    rows: dict[str, dict[str, Score]]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))

    def __getitem__(self, row: str) -> dict[str, Score]:
        if row not in self.rows:
            raise unknown("row", row, self.rows)
        return self.rows[row]

    def __rich__(self) -> RenderableType:
        # one line a protocol: three intervals side by side fit a terminal, eight do not
        table = RichTable(title=self._title(), caption="percent, with 95 % intervals", title_justify="left")
        table.add_column("")
        for name in self.rows:
            table.add_column(name, justify="right", no_wrap=True, style="bold" if name == LEARNED else "")
        for column in self.columns:
            table.add_row(column, *[_cell(scores, column) for scores in self.rows.values()])
        return table

    def __str__(self) -> str:
        console = Console(width=30 + 21 * len(self.rows), color_system=None)
        with console.capture() as captured:
            console.print(self)
        return captured.get()

    def to_dict(self) -> dict[str, Any]:
        rows = {name: {c: s.to_dict() for c, s in scores.items()} for name, scores in self.rows.items()}
        return {"about": self.about, "rows": rows}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Table:
        rows = {n: {c: Score(**s) for c, s in scores.items()} for n, scores in saved["rows"].items()}
        return cls(rows, saved["about"])

    def to_markdown(self) -> str:
        lines = [["", *self.columns], ["---", *["---:"] * len(self.columns)]]
        lines += [[name, *[_cell(s, c) for c in self.columns]] for name, s in self.rows.items()]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the table whole, as its name ends: ``.json`` or ``.md``."""
        path = Path(path)
        written = {".json": self.to_json, ".md": self.to_markdown}
        if path.suffix not in written:
            raise BadInput(f"A table is saved as .json or .md; got {path.name}.")
        write_text(path, written[path.suffix]())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Table:
        """Read what ``save`` wrote as ``.json``.

        Raises:
            BadInput: If it is something else.
        """
        try:
            table = cls.from_dict(json.loads(Path(path).read_text()))
            str(table)  # every score can be shown
        except Exception as error:  # a file may hold anything
            raise BadInput(f"{path} is not a table that measure wrote: {first_line(error)}.") from error
        return table

    def _title(self) -> str:
        if "source" not in self.about:
            return ""
        source, train, test = (self.about[key] for key in ("source", "train", "test"))
        labelled = "labelled " if self.about.get("labelled", True) else ""
        folders = "; a label is the name of a folder" if self.about.get("label_name") == "folder" else ""
        return f"{source}: {train} {labelled}samples, {test} to judge by{folders}"


def _cell(scores: dict[str, Score], column: str) -> str:
    return str(scores[column]) if column in scores else "-"


def measure(
    run: Run | nn.Module | str | Path,
    source: Any,
    *,
    test: Any = None,
    protocols: Sequence[str] | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Table:
    """Measure what an encoder learned, beside raw pixels and the same encoder untrained.

    Every row is measured on the same samples and with the same draws. Labels of ``test`` judge and
    do nothing else; what has to be chosen is chosen on ``source``.

    Args:
        run: A run, its folder, or an encoder, also a network of your own.
        source: Labelled samples, or what ``vergence.open`` understands; unlabelled rows are left out.
        test: Samples to judge by; None keeps back 30 % of ``source``, of each class alike.
        protocols: None takes the usual ones of the modality; or any of ``evaluate.protocols``: "boosting"
            (gradient-boosted trees; of two classes with the area under the ROC curve, which
            "linear_auc" gives of a linear model), k-NN, linear probe, few-shot with 1, 5 and 20 labels
            a class (by class centroids, or "few_shot_knn", "few_shot_linear"), retrieval, clustering, and
            "finetune", which trains the encoder on and takes minutes. "knn_linear" blends neighbours and a
            linear head (``use.knn_revisit``). Two of photos need no labels where only they are asked for:
            "rotation" asks by how many quarters photos were turned; encoders rank by it much as by labels,
            where photos have an upright pose (SelfAugment, arXiv:2009.07724). "copies" looks for edited
            copies of photos among others (``evaluate.protocols.isc2021``). Others judge maps of places:
            "miou" by a linear probe of pictures' masks, "patch_knn" by neighbours and "matched_miou" by
            k-means in its place, "pck" by keypoints found again in other pictures, "depth", "foreground_ari",
            "corloc", "homography"; or vectors, by what a source holds: "multilabel", "angle",
            "unknown_classes", "domains", "corruptions"; or tokens: "attentive". Each file of
            ``evaluate.protocols`` says what it needs.
            A number of labels that the smallest class does not have is left out. Of graphs: the names
            of splits that come with the data, such as "public", "random-10-10-80", "heco-20" and
            "tu-10-fold", each judged as papers do; None takes the first.
        seed: Of the split, the untrained weights, draws and k-means.
        quiet: Show no progress.

    Raises:
        BadInput: If there are no labels, too few, or a protocol does not exist.
    """
    source = open_source(source)
    splits: list[str] = getattr(source, "protocols", []) if test is None else []
    known = known_protocols()
    for name in protocols or ():
        if name not in known and name not in splits:
            raise unknown("protocol", name, [*known, *splits])
    began = time.monotonic()
    encoder = encoder_for(run, source)
    if splits and set(protocols or ()) <= set(splits):
        by_splits = find_modality(source.modality).load("splits")
        scores, about = by_splits(encoder, source, protocols or (), seed=seed)
        return Table(scores, {**about, "seconds": round(time.monotonic() - began, 1)})
    _check_targets(protocols or (), source, test)
    if protocols and not any("labels" in known[name].needs for name in protocols):
        return _without_labels(encoder, source, test, protocols, seed=seed, began=began)
    source = _labelled_source(source)
    wanted: Sequence[str] = tuple(protocols or ()) or find_modality(source.modality).protocols or DEFAULT
    if test is None:
        assert source.labels is not None
        together = _groups(source) if source.modality == "video" else None
        first, second = stratified(source.labels, TEST_SHARE, seed=seed, groups=together)
        if not len(second):
            what = "samples" if together is None else "videos"
            raise BadInput(
                f"measure needs 2 or more {what} of a class to keep some back; {source.uri} has 1 of each."
            )
        source, judge = source.subset(first), source.subset(second)
    else:
        judge = _labelled_source(test)
        _same_classes(source, judge)
    rivals = baselines(encoder, source, seed=seed)
    kinds = {**rivals, LEARNED: encoder, **beside(rivals, encoder)}
    rows: dict[str, dict[str, Score]] = {}
    with _progress(quiet) as progress:
        task = progress.add_task("measuring", total=len(kinds) * (1 + len(wanted)))
        for name, net in kinds.items():
            progress.update(task, description=f"{name}: features")
            split = features(net, source, judge)
            rows[name] = {}
            progress.advance(task)
            for protocol in wanted:
                progress.update(task, description=f"{name}: {protocol.replace('_', ' ')}")
                rows[name].update(known[protocol].scores(split, seed))
                progress.advance(task)
    about = {
        "source": source.uri,
        "test": len(judge),
        "train": len(source),
        "classes": len(np.unique(split.train_y)),
        "label_name": source.label_name,
        "held_out": test is None,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
    }
    return Table(rows, about)


def _check_targets(names: Sequence[str], source: Source, test: str | Path | Source | None) -> None:
    """Raise ``BadInput`` where a protocol lacks what it needs; labels are asked for with the samples."""
    for name in names:
        if name not in known_protocols():
            raise BadInput(f"{name} judges on splits that come with {source.uri}: ask for it alone.")
        others = [need for need in known_protocols()[name].needs if need != "labels"]
        for part in (source, *([] if test is None else [open_source(test)])):
            part.require(others, name)


def _without_labels(
    encoder: nn.Module,
    source: Source,
    test: str | Path | Source | None,
    protocols: Sequence[str],
    *,
    seed: int,
    began: float,
) -> Table:
    """Measure by protocols that need no labels."""
    if test is None:
        groups = _groups(source)
        order = np.random.default_rng(seed).permutation(groups.max(initial=-1) + 1)
        kept = round(TEST_SHARE * len(order))
        if kept < 1 or kept == len(order):
            raise BadInput(
                f"measure needs 4 or more samples to keep some back; {source.uri} has {len(order)}."
            )
        back = np.isin(groups, order[:kept])
        source, judge = source.subset(np.flatnonzero(~back)), source.subset(np.flatnonzero(back))
    else:
        judge = open_source(test)
    kinds = {**baselines(encoder, source, seed=seed), LEARNED: encoder}
    splits = {name: Split(net, source, judge) for name, net in kinds.items()}
    scores = {
        name: {k: v for protocol in protocols for k, v in known_protocols()[protocol].scores(split, seed)}
        for name, split in splits.items()
    }
    about = {"source": source.uri, "test": len(judge), "train": len(source), "labelled": False, "seed": seed}
    return Table(scores, {**about, "seconds": round(time.monotonic() - began, 1)})


def _groups(source: Source) -> np.ndarray:
    """Return which samples stay together ``(n,)``, numbered from 0: a clip's frames, a pair's pictures."""
    if "group" not in source.targets:
        return np.arange(len(source))
    values = source.target("group").values  # type: ignore[attr-defined]
    return np.unique(values.numpy(), return_inverse=True)[1]


def _labelled_source(source: str | Path | Source) -> Source:
    """Open a source and leave out its unlabelled rows."""
    source = open_source(source)
    labels = source.labels if source.labels is not None else np.empty(0, dtype=np.int64)
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        raise BadInput(
            f"measure needs labels; {source.uri} has none: nest images in one folder a class, give a "
            "parquet file with a label column, or say them: open(images, labels=...), "
            "open(frame, label=COLUMN)."
        )
    if len(np.unique(labels[known])) < 2:
        raise BadInput(f"measure needs 2 or more classes; every label of {source.uri} is the same.")
    return source if len(known) == len(source) else source.subset(known)


def _same_classes(source: Source, test: Source) -> None:
    if source.classes and test.classes and list(source.classes) != list(test.classes):
        raise BadInput(
            f"measure needs the same classes in both; {source.uri} has {', '.join(source.classes[:4])}… and "
            f"{test.uri} {', '.join(test.classes[:4])}…. Give both the same class folders."
        )


def _progress(quiet: bool) -> Progress:
    console = Console(file=sys.stderr)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


__all__ = ["DEFAULT", "LEARNED", "PIXELS", "UNTRAINED", "Table", "measure"]
