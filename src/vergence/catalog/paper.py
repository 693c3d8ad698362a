"""One row of the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Modality = Literal["image", "video", "points", "volume", "graph", "events", "tables", "text", "any"]
Task = Literal[
    "representation",
    "clustering",
    "correspondence",
    "edges",
    "keypoints",
    "objects",
    "few-labels",
    "zero-shot",
    "retrieval",
    "curation",
    "generation",
    "analysis",
]
Kind = Literal["learner", "estimator", "readout", "protocol", "backbone", "theory", "survey", "tool"]


@dataclass(frozen=True, slots=True)
class Paper:
    """One row of the catalog.

    Args:
        key: Name of file, test, result and command.
        number: Place among the 203 papers; None for a reference that everybody expects.
        title: As printed on the paper.
        year: Of publication.
        arxiv: Id without version, or None.
        modality: What the data are, which is where the code lives; "any" where nothing but vectors or two
            views of a thing are needed.
        task: What it is for: "representation" is an encoder for everything else, "objects" are found, boxed
            or segmented, "correspondence" is between pixels of frames or of two views, "few-labels" are few,
            noisy or shifted ones, "analysis" tells about networks or data.
        kind: How it is used. A learner trains an encoder, an estimator is fitted, a readout works on
            features, a protocol measures.
        code: Where it is, ``"module:name"``; None while it is planned.
    """

    key: str
    number: int | None
    title: str
    year: int
    arxiv: str | None
    modality: Modality
    task: Task
    kind: Kind
    code: str | None = None

    @property
    def status(self) -> Literal["available", "planned"]:
        """Whether there is code for it."""
        return "available" if self.code else "planned"

    @property
    def trained(self) -> bool:
        """Whether ``vergence learn KEY`` trains or fits it: a class of ``methods``."""
        module, _, name = (self.code or "").partition(":")
        return module.startswith("vergence.methods.") and name[:1].isupper()

    @property
    def url(self) -> str | None:
        """Where to read it."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else None
