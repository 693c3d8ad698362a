"""Fine-tuning: the encoder as a start, all of it trained on."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence import engine
from vergence.core import BadInput, Interrupted, Method, Recipe, RunConfig, input_spec
from vergence.core.modality import find_modality
from vergence.data import Source
from vergence.evaluate.inputs import stratified
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)


class Classifier(Method):
    """An encoder with a linear layer on top, trained on labels.

    Args:
        encoder: What is fine-tuned.
        classes: Labels are in [0, classes).
        augment: Makes a list with one view of a batch.
    """

    recipe = Recipe(optimizer="adamw", lr=1e-3, lr_scaling="none", weight_decay=0.05, clip=1.0)

    def __init__(self, encoder: nn.Module, *, classes: int, augment: Any) -> None:
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, classes)  # type: ignore[arg-type]
        nn.init.zeros_(self.head.weight)  # a random head's gradients would first spoil the encoder
        nn.init.zeros_(self.head.bias)
        self.augment = augment

    def views(self, batch: Any) -> tuple[Any, Tensor]:
        return self.augment(batch)[0], batch.label

    def loss(self, views: tuple[Any, Tensor]) -> dict[str, Tensor]:
        view, label = views
        return {"classes": cross_entropy(self.head(self.encode(view)).float(), label)}


def finetune(
    encoder: nn.Module,
    train: Source,
    test: Source,
    *,
    epochs: int = 30,
    lr: float = 1e-3,
    batch_size: int = 128,
    labels_share: float = 1.0,
    seed: int = 0,
) -> Score:
    """Share of test samples that the fine-tuned encoder and a linear layer get right.

    AdamW at a rate that rises over a tenth of the run and falls along a cosine, on random crops of
    half or more of each photo, mirrored where the data allows. The encoder given is left as it was.
    Nothing is chosen on the test samples: the last step's weights are judged.

    Args:
        encoder: With ``out_dim``.
        train: Labelled samples; unlabelled ones are left out.
        test: Labelled samples to judge by.
        epochs: Passes over what is trained on.
        lr: Peak learning rate, at ``batch_size``.
        batch_size: Samples a step, at most a quarter of what is trained on.
        labels_share: Of each class's labels that are used, in (0, 1]; one a class at least.
        seed: Of that choice, the head and the views.

    Raises:
        BadInput: If there are no labels.
        Interrupted: After SIGINT or SIGTERM; nothing is kept.
    """
    if not 0 < labels_share <= 1:
        raise ValueError(f"finetune needs labels_share in (0, 1], got {labels_share}.")
    if train.labels is None or test.labels is None:
        bare = train if train.labels is None else test
        raise BadInput(f"Fine-tuning needs labels; {bare.uri} has none: nest images in one folder a class.")
    rows = np.flatnonzero(train.labels >= 0)
    if labels_share < 1:
        rows = rows[stratified(train.labels[rows], 1 - labels_share, seed=seed)[0]]
    classes = int(train.labels[rows].max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = Classifier(copy.deepcopy(encoder), classes=classes, augment=_augment(encoder, train))
        method.requires_grad_(True)
        recipe = dataclasses.replace(Classifier.recipe, epochs=epochs, lr=lr, warmup=epochs / 10)
        config = RunConfig(
            method="finetune",
            source=train.uri,
            recipe=recipe,
            batch_size=max(2, min(batch_size, len(rows) // 4)),
            seed=seed,
        )
        with tempfile.TemporaryDirectory() as folder:
            try:
                engine.train(method, train.subset(rows), config, out=Path(folder), quiet=True)
            except Interrupted as error:
                raise Interrupted(
                    "Fine-tuning was stopped; nothing of it is kept. Start it again."
                ) from error
    embeddings = engine.embed(method.encoder, test.subset(np.flatnonzero(test.labels >= 0)))
    head = method.head.cpu()
    with torch.no_grad():
        guess = head(torch.from_numpy(embeddings.vectors)).argmax(1).numpy()
    return mean_score(guess == embeddings.labels, note=f"{len(rows)} labels, {epochs} epochs")


def _augment(encoder: nn.Module, source: Source) -> Any:
    """Return the modality's pair view, toned down: of images to crops and mirrors."""
    views = find_modality(source.modality).load("views")
    options = {**source.view_options, **getattr(views, "MILD", {})}
    return views.KINDS["pair"](**(input_spec(encoder) or {}), **options)


def _finetuned(split: Split, seed: int) -> Scores:
    if any(True for _ in split.encoder.parameters()):  # else there is nothing to train on
        yield "fine-tuned", finetune(split.encoder, split.train, split.test, seed=seed)


PROTOCOLS = {"finetune": _finetuned}
