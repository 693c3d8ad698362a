"""The settings of a run: what ``learn`` was asked, what came of it, and how it is written and read."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from vergence.core.errors import BadInput
from vergence.core.kinds import fits
from vergence.core.recipe import Recipe

VERSION = 3
_DIGESTED = 10_000  # names, at most, that the digest of a source is made of


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Every setting of a run; ``config.yaml`` holds its fields.

    The first block has the parameters of ``vergence.learn`` with its defaults, resolved once the run begins;
    the second what is known then; ``seconds`` and ``result`` come at the end.

    Args:
        method: Key of the catalog, or the name of the user's own class.
        source: What opens the data again.
        encoder: The encoder's spec: its name, its options, and the spec of an encoder that it wraps.
        encoder_options: Of its options, those that were asked for.
        init: What its weights began with, such as "run:PATH"; None began at random.
        size: Side of the views in pixels (images).
        epochs: Passes over the data.
        batch_size: Samples an optimizer step over all processes.
        lr: Learning rate at that batch size; None scaled the recipe's.
        optimizer: None took the recipe's.
        weight_decay: None took the recipe's.
        warmup: Epochs of linear warm-up; None took the recipe's share of the run.
        seed: Of weights, order and views.
        precision: "auto", "bf16" or "fp32".
        devices: Processes a machine.
        nodes: Machines.
        strategy: Of several processes.
        workers: Decoding threads.
        accumulate: Parts into which each step's batch was split.
        save_every: Steps between checkpoints; None saves at the ends of epochs.
        log: Tracker that its rows also go to: "wandb", "mlflow" or "tensorboard".
        views: Options of the modality's views, as they were given.
        options: Of the method, as they were given; None of one that was made already.
        version: Of this format.
        command: What was typed, or "python API".
        modality: Of the source.
        samples: Of the source.
        names: Digest of the samples' names; with ``samples`` the source's fingerprint.
        out_of: Samples that the data held in all, of which the source may have been a part; 0 if not known.
        recipe: The training settings really used; None of what is fitted.
        processes: On all machines together.
        device: What it ran on, in words.
        threads: In each process, on which the last bits of a CPU's results depend; None if not known.
        parameters: Of the encoder.
        versions: Of the libraries.
        seconds: That training took; None until it ends.
        result: What an estimator computed besides vectors.
        stages: Names of the stages, in order; none of a run of one.
        stage: The one that is running; None once the run has ended.
    """

    method: str
    source: str
    encoder: dict[str, Any] | None = None
    encoder_options: dict[str, Any] = field(default_factory=dict)
    init: str | None = None
    size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    weight_decay: float | None = None
    warmup: float | None = None
    seed: int = 0
    precision: str = "auto"
    devices: int | str = 1
    nodes: int = 1
    strategy: str = "auto"
    workers: int | None = None
    accumulate: int = 1
    save_every: int | None = None
    log: str | None = None
    views: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] | None = field(default_factory=dict)

    version: int = VERSION
    command: str = "python API"
    modality: str = ""
    samples: int = 0
    names: str | None = None
    out_of: int = 0
    recipe: Recipe | None = None
    processes: int = 1
    device: str = "unknown device"
    threads: int | None = None
    parameters: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    result: dict[str, Any] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)
    stage: str | None = None

    def replace(self, **changes: Any) -> RunConfig:
        """Return these settings with some changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for a file."""
        recipe = None if self.recipe is None else dataclasses.asdict(self.recipe)
        return {**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "recipe": recipe}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], where: str = "config.yaml") -> RunConfig:
        """Read what ``to_dict`` gave, of this version or an earlier one.

        Args:
            content: The fields.
            where: Named in errors.

        Raises:
            BadInput: If a field is missing, unknown or of another type, or the version is a later one.
        """
        version = content.get("version", 1)
        if not fits(version, int) or version > VERSION:
            raise BadInput(
                f"{where} is of version {version!s:.20}; this vergence reads up to {VERSION}: upgrade it."
            )
        fields = {**(_of_version_1(content, where) if version == 1 else content), "version": VERSION}
        if version < 3 and "found" in fields:
            fields["result"] = fields.pop("found")
        kinds = get_type_hints(cls)
        for name in ("method", "source", "encoder", "modality"):
            if name not in fields:
                raise BadInput(f"{where} lacks '{name}': it is not as vergence wrote it.")
        fields["recipe"] = _recipe(fields.get("recipe"), where)
        for name, value in fields.items():
            if name not in kinds:
                raise BadInput(f"{where} has an unknown '{name}': it is not as vergence wrote it.")
            if not fits(value, kinds[name]):
                raise BadInput(f"{where} has {name}: {value!r:.60}; it is not as vergence wrote it.")
        if fields["encoder"] is not None:
            _check_spec(fields["encoder"], f"{where} has encoder")
        return cls(**fields)

    def differs(self, samples: int, names: Sequence[str]) -> str:
        """Say how a source differs from the run's, "" if it is the same as far as is known."""
        if samples != self.samples:
            return f"it held {self.samples:,} samples and holds {samples:,}"
        return "its samples have other names" if self.names not in (None, digest(names)) else ""


def digest(names: Sequence[str]) -> str:
    """Return a short digest of names and their order, of evenly spaced ones where there are many.

    >>> digest(["a.png", "b.png"]) == digest(["b.png", "a.png"])
    False
    """
    step = max(1, len(names) // _DIGESTED)
    text = "\0".join(names[i] for i in range(0, len(names), step))
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def _recipe(content: Any, where: str) -> Recipe | None:
    if content is None:
        return None
    if not isinstance(content, Mapping):
        raise BadInput(f"{where} has no recipe of this vergence: {content!r:.60}.")
    kinds = get_type_hints(Recipe)
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    for name, value in fields.items():
        if name not in kinds:
            raise BadInput(f"{where} has no recipe of this vergence: it has no {name!s:.40}.")
        if not fits(value, kinds[name]):
            raise BadInput(f"{where} has recipe.{name}: {value!r:.60}; it is not as vergence wrote it.")
    return Recipe(**fields)


def _check_spec(spec: Mapping[str, Any], where: str) -> None:
    """Raise ``BadInput`` if an encoder, or one inside of it, has no name or asks for other weights."""
    if spec and not isinstance(spec.get("name"), str):
        raise BadInput(f"{where}.name: {spec.get('name')!r:.60}; it is not as vergence wrote it.")
    if "pretrained" in spec:
        raise BadInput(
            f"{where}.pretrained, but a run brings its own weights; it is not as vergence wrote it."
        )
    if isinstance(inner := spec.get("encoder"), Mapping):
        _check_spec(inner, f"{where}.encoder")


def _of_version_1(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of a ``config.yaml`` without a version as they are written today."""
    fields = dict(content)
    encoder = fields.get("encoder")
    if not isinstance(encoder, dict):
        raise BadInput(f"{where} lacks 'encoder': it is not as vergence wrote it.")
    fields.setdefault("modality", "image")  # the first one there was
    fields["encoder"], fields["size"] = _nested(encoder), encoder.get("size")
    fields["precision"] = "bf16" if str(fields.get("precision", "")).startswith("bf16") else "fp32"
    return fields


def _nested(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return an encoder's spec as it is written today: wrapped ones inside, classes by their new place."""
    inner = {k: v for k, v in spec.items() if k not in ("descriptor", "stationary")}
    inner["name"] = str(spec.get("name")).replace("vergence.learn.", "vergence.methods.", 1)
    if (dim := spec.get("descriptor")) is not None:
        inner = {"name": "vergence.nets.descriptor:Descriptor", "dim": dim, "encoder": inner}
    if (classes := spec.get("stationary")) is not None:
        inner = {"name": "vergence.methods.image.cores:Stationary", "classes": classes, "encoder": inner}
    return inner


def check_run(run: str) -> None:
    """Say at once that a folder is no run.

    Raises:
        BadInput: If it has no ``config.yaml``.
    """
    path = Path(run.removeprefix("run:")) / "config.yaml"
    if not path.exists():
        raise no_run(path)


def no_run(path: Path) -> BadInput:
    """Return what is to be raised where the settings at ``path`` are not there."""
    return BadInput(f"{path} is missing: {path.parent} is not a finished or started run.")
