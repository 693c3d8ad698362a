"""SelfAugment: Automatic Augmentation Policies for Self-Supervised Learning.

Reed, Metzger, Srinivas, Darrell, Keutzer 2021, arXiv:2009.07724.

Which augmentations suit these photos is asked without labels. How well a linear layer on the frozen
features tells by how many quarter turns a photo was turned (the rotation probe, Sec. 3) ranks encoders
nearly as labels would. With it (Sec. 4):

1. one short training for each single transform; the one with the best probe is the base;
2. in every fold, a training with the base, and a rotation head on its features;
3. in every fold, a search for policies *without retraining*: photos that the fold did not learn from are
   augmented and shown to its networks, and a policy is good if it keeps their turn visible and yet is hard
   for the contrast,

       minimise  (L_rot(policy) - L̄_rot) / s_rot - (L_icl(policy) - L̄_icl) / s_icl;

   the best of every fold are united;
4. a training on all photos with base and policy.

Either loss alone fails: turns stay most visible in photos left as they are, and the contrast is hardest where
nothing is left of them.

Differs from the paper: any contrastive method of the library in place of MoCo v2, and its own loss in place
of L_icl; both losses are standardised by their means L̄ and deviations s over the policies that a search
begins with, where the paper divides them by what the base alone costs: among the few negatives of a batch
the contrast varies several times as widely as the turns' loss and would decide alone; the rotation head
learns from photos as they are, without the base; no operation turns photos, which would answer the probe.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.core import BadInput, Estimator, Method, RunConfig, input_spec, pooled, unknown
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.engine import embed
from vergence.engine.stages import train_method
from vergence.methods import method_class
from vergence.methods.image import encoders
from vergence.methods.image.tpe import ParzenSearch
from vergence.views.pixels.augment import Augment, View, plain
from vergence.views.pixels.geometry import quarter_turns
from vergence.views.pixels.operations import NAMES, Policy

BASES: dict[str, dict[str, Any]] = {  # single transforms, as options of ``Augment``
    "crop": {"scale": (0.2, 1.0)},
    "flip": {"flip": 0.5},
    "jitter": {"jitter_p": 0.8},
    "grey": {"grey": 0.5},
    "blur": {"blur": 0.5},
    "solarize": {"solarize": 0.5},
}
_PLAIN: dict[str, Any] = {
    "scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter_p": 0.0, "grey": 0.0, "blur": 0.0
}  # fmt: skip


@dataclass(frozen=True)
class Turns:
    """A linear layer that says by how many quarters a photo was turned.

    Args:
        weight: ``(D, 4)``.
        bias: ``(4,)``.
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, x: np.ndarray, turns: np.ndarray) -> Turns:
        """Fit to frozen features ``(n, D)``, standardised, with the four turns of every photo among them."""
        from sklearn.linear_model import LogisticRegression

        mean, scale = x.mean(0), np.maximum(x.std(0), 1e-6)
        model = LogisticRegression(C=0.1, max_iter=200, tol=1e-3).fit((x - mean) / scale, turns)
        weight = model.coef_ / scale
        return cls(
            *(torch.from_numpy(a.astype(np.float32)) for a in (weight.T, model.intercept_ - weight @ mean))
        )

    def __call__(self, x: Tensor) -> Tensor:
        return x.float() @ self.weight.to(x.device) + self.bias.to(x.device)


@torch.no_grad()
def turned_features(encoder: nn.Module, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors ``(4n, D)`` of all four turns of every photo, and the turns ``(4n,)``."""
    size = (input_spec(encoder) or {}).get("size")
    if source.modality != "image" or size is None:
        raise BadInput(f"Turns are told from images by an image encoder; {source.uri} or it is none.")

    def read(batch: ImageBatch) -> Tensor:
        upright = (plain(batch, size) * 255).round().to(torch.uint8)
        all_four = (_batch(quarter_turns(upright, k).contiguous()) for k in range(4))
        return torch.cat([pooled(encoder(part)) for part in all_four], 1)

    vectors = embed(encoder, source, read=read).vectors  # (n, 4 D)
    parts = np.split(vectors, 4, axis=1)
    return np.concatenate(parts), np.repeat(np.arange(4), len(vectors))


def rotation_probe(encoder: nn.Module, train: Source, test: Source) -> np.ndarray:
    """Return whether each turn of each test photo is told rightly, ``(n, 4)`` bool; its mean is the probe.

    Args:
        encoder: Frozen.
        train: Photos that the linear layer learns from; labels are not looked at.
        test: Others. Photos without an upright pose, such as those from above, tell nothing.
    """
    head = Turns.fit(*turned_features(encoder, train))
    x, turns = turned_features(encoder, test)
    right = head(torch.from_numpy(x)).argmax(1).numpy() == turns
    return right.reshape(4, -1).T


@dataclass(frozen=True)
class Views:
    """Two views a photo: a policy, then the base.

    Args:
        base: Made of one of ``BASES``, or any other.
        policy: None leaves the base.
    """

    base: Augment
    policy: Policy | None = None

    def __call__(self, batch: ImageBatch) -> list[View]:
        return [self.base(self.changed(batch)) for _ in range(2)]

    def changed(self, batch: ImageBatch) -> ImageBatch:
        if self.policy is None:
            return batch
        return _batch((self.policy(plain(batch, self.base.size)) * 255).round().to(torch.uint8), batch)


class SelfAugment(Estimator):
    """Choose augmentations by turns and contrast, without labels, and learn with them.

    After ``fit``: ``encoder``; ``base``, one of ``BASES``; ``policy``; ``probes``, of every base tried.

    Args:
        learner: Key of a contrastive learner of images, such as "simclr".
        backbone: Name of the encoder; None lets the data choose.
        size: Side of the views in pixels; None lets the data choose.
        objective: What a policy is chosen by: "min-max" as above, "rotation" (least L_rot) or "contrast"
            (most L_icl).
        bases: Single transforms to try, of ``BASES``; None tries all; one alone is taken untried.
        folds: 2 or more.
        repeats: Searches a fold.
        trials: Policies tried a search.
        keep: That are kept of each.
        lists: Sub-policies of a policy.
        operations: Of each.
        look: Held-out photos that a trial looks at, at most.
        search_epochs: Of trainings in steps 1 and 2; None takes the learner's.
        epochs: Of the last training; None takes the learner's.
        batch_size: Of all trainings; None lets the learner choose.
        lr: Likewise.
        optimizer: Likewise.
        weight_decay: Likewise.
    """

    encoder: nn.Module
    base: str
    policy: Policy
    probes: dict[str, float]

    def __init__(
        self,
        *,
        learner: str = "simclr",
        backbone: str | None = None,
        size: int | None = None,
        objective: Literal["min-max", "rotation", "contrast"] = "min-max",
        bases: tuple[str, ...] | None = None,
        folds: int = 5,
        repeats: int = 2,
        trials: int = 200,
        keep: int = 10,
        lists: int = 5,
        operations: int = 2,
        look: int = 1024,
        search_epochs: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        optimizer: Literal["sgd", "lars", "adam", "adamw"] | None = None,
        weight_decay: float | None = None,
    ) -> None:
        for name in bases or ():
            if name not in BASES:
                raise unknown("base", name, BASES)
        if folds < 2 or min(repeats, lists, operations, look) < 1:
            raise BadInput(
                "selfaugment needs 2 or more folds and 1 or more repeats, lists, operations and look; got "
                f"{folds}, {repeats}, {lists}, {operations} and {look}."
            )
        if not 1 <= keep <= trials:
            raise BadInput(f"keep says how many of the trials stay, 1 or more; got {keep} of {trials}.")
        if objective not in OBJECTIVES:
            raise unknown("objective", objective, OBJECTIVES)
        self.learner, self.backbone, self.size, self.objective = learner, backbone, size, objective
        self.bases, self.folds, self.repeats, self.trials, self.keep = bases, folds, repeats, trials, keep
        self.lists, self.operations, self.look = lists, operations, look
        self.search_epochs, self.epochs = search_epochs, epochs
        self.batch_size, self.lr, self.optimizer, self.weight_decay = batch_size, lr, optimizer, weight_decay

    @property
    def result(self) -> dict[str, Any]:
        """The base, the policy, and the rotation probes of all bases."""
        return {
            "base": self.base,
            "policy": [[list(step) for step in one] for one in self.policy.lists],
            "rotation_probes": self.probes,
        }

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        if source.modality != "image":
            raise BadInput(f"selfaugment learns from images; {source.uri} holds none.")
        if len(source) < 8 * self.folds:
            raise BadInput(f"{source.uri} has {len(source)} images; {self.folds} folds need 8 each.")
        parts = np.array_split(np.random.default_rng(seed).permutation(len(source)), self.folds)
        self.base = self.best_base(source, parts, seed)
        chosen: list[Sequence[Any]] = []
        for fold, held in enumerate(parts):
            rest = source.subset(np.sort(np.concatenate([*parts[:fold], *parts[fold + 1 :]])))
            judge = self.judge(rest, source.subset(np.sort(held)[: self.look]), seed + fold)
            for repeat in range(self.repeats):
                chosen += self.search(judge, seed=1000 * (repeat + 1) + seed + fold)
        self.policy = Policy(chosen)
        self.encoder = self.train(source, self.policy, epochs=self.epochs, seed=seed).encoder
        return self

    def best_base(self, source: Source, parts: Sequence[np.ndarray], seed: int) -> str:
        names = self.bases or tuple(BASES)
        self.probes = {}
        if len(names) == 1:
            return names[0]
        rest, held = source.subset(np.sort(np.concatenate(parts[1:]))), source.subset(np.sort(parts[0]))
        for name in names:
            method = self.train(rest, None, base=name, epochs=self.search_epochs, seed=seed)
            self.probes[name] = float(rotation_probe(method.encoder, rest, held).mean())
        return max(self.probes, key=lambda name: self.probes[name])

    def train(
        self,
        source: Source,
        policy: Policy | None,
        *,
        base: str | None = None,
        epochs: int | None = None,
        seed: int = 0,
    ) -> Method:
        """Train the learner with views by a base and a policy; return it with its heads."""
        torch.manual_seed(seed)
        net = self.network(source)
        cls = method_class(self.learner)
        if not issubclass(cls, Method):
            raise BadInput(
                f"selfaugment needs a learner with a contrast, such as simclr; got {self.learner}."
            )
        method = cls(net)
        if method.views != "pair":
            raise BadInput(
                f"selfaugment needs a learner from pairs of views, such as simclr; got {self.learner}."
            )
        options = {**_PLAIN, **BASES[base or self.base]}
        method.views = Views(Augment(net.size, **options), policy)
        config = RunConfig(
            method=self.learner, source=source.uri, epochs=epochs, batch_size=self.batch_size, lr=self.lr,
            optimizer=self.optimizer, weight_decay=self.weight_decay, seed=seed, workers=1,
        )  # fmt: skip
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as folder:
            train_method(method, source, config, out=Path(folder) / "run", quiet=True)
        return method.eval()

    def network(self, source: Source) -> encoders.ImageEncoder:
        """Return an untrained encoder."""
        return encoders.for_source(source, self.backbone, size=self.size)

    def judge(self, train: Source, held: Source, seed: int) -> Judge:
        """Train the networks of a fold (step 2)."""
        method = self.train(train, None, epochs=self.search_epochs, seed=seed)
        spec = input_spec(method.encoder)
        batches = list(held.loader(min(256, len(held)), spec=spec))
        return Judge(method, Turns.fit(*turned_features(method.encoder, train)), batches, seed)

    def search(self, judge: Judge, *, seed: int) -> list[Sequence[Any]]:
        """Return the lists of the best policies for the networks of a fold (step 3)."""
        tried = self.tries(judge, seed=seed)
        return [one for trial in tried.best(self.keep) for one in self.policy_of(trial).lists]

    def tries(self, judge: Judge, *, seed: int) -> ParzenSearch:
        """Return the search for policies after its last trial."""
        score = OBJECTIVES[self.objective]
        space = [len(NAMES), 0, 0] * (self.lists * self.operations)
        start = min(20, max(1, self.trials // 2))
        search = ParzenSearch(space, seed=seed, start=start)
        first = [search.ask() for _ in range(start)]
        losses = np.array([judge(self.policy_of(trial)) for trial in first])
        mean, spread = losses.mean(0), np.maximum(losses.std(0), 1e-12)
        for trial, loss in zip(first, losses, strict=True):
            search.tell(trial, score(*(loss - mean) / spread))
        for _ in range(self.trials - start):
            trial = search.ask()
            search.tell(trial, score(*(judge(self.policy_of(trial)) - mean) / spread))
        return search

    def policy_of(self, trial: np.ndarray) -> Policy:
        """Return the policy that a point of the search's space stands for."""
        steps = [(NAMES[int(i)], float(p), float(m)) for i, p, m in trial.reshape(-1, 3)]
        return Policy([steps[i : i + self.operations] for i in range(0, len(steps), self.operations)])


OBJECTIVES = {
    "min-max": lambda rotation, contrast: rotation - contrast,
    "rotation": lambda rotation, contrast: rotation,
    "contrast": lambda rotation, contrast: -contrast,
}


@dataclass(frozen=True)
class Judge:
    """What judges policies in a fold.

    Args:
        method: Trained on the other folds.
        turns: Likewise.
        batches: Photos of this fold.
        seed: Of what policies draw; the same for all, so that they are compared on equal terms.
    """

    method: Method
    turns: Turns
    batches: Sequence[ImageBatch]
    seed: int

    @torch.no_grad()
    def __call__(self, policy: Policy | None) -> tuple[float, float]:
        """Return L_rot and L_icl of the photos under the base and a policy."""
        views = Views(self.method.views.base, policy)  # type: ignore[union-attr]
        size = views.base.size
        rotation, contrast, photos = 0.0, 0.0, 0
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            for batch in self.batches:
                upright = plain(views.changed(batch), size)
                features = [self.method.encode(quarter_turns(upright, k)) for k in range(4)]
                answer = torch.arange(4, device=upright.device).repeat_interleave(len(upright))
                rotation += len(upright) * float(cross_entropy(self.turns(torch.cat(features)), answer))
                contrast += len(upright) * float(sum(self.method.loss(views(batch)).values()))
                photos += len(upright)
        return rotation / photos, contrast / photos


def _batch(pixels: Tensor, like: ImageBatch | None = None) -> ImageBatch:
    """Return pixels as a batch, with the index and label of another if one is given."""
    rows = torch.arange(len(pixels), device=pixels.device)
    if like is not None:
        return ImageBatch(pixels, like.index, like.label)
    return ImageBatch(pixels, rows, torch.full_like(rows, -1))
