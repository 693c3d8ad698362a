"""Contract check: whether a method of the user's own keeps what the engine relies on, tried in seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.core import BadInput, Method, RunConfig, input_spec
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine.encoders import Given, new_encoder
from vergence.engine.loop import seed_step
from vergence.engine.run import Run
from vergence.engine.training import bind_views
from vergence.engine.turns import checked_terms
from vergence.train import learn, resume

BATCH = 32
CHECKS = ("loss", "gradients", "alone", "seed", "resume")


def check_method(
    method: type[Method],
    source: Any,
    *,
    encoder: Given | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[str, ...]:
    """Ask of a method of your own what the engine relies on; it takes seconds on a small source.

    - loss: its ``loss`` gives named, finite scalars;
    - gradients: every trainable parameter gets one, and what is frozen gets none;
    - alone: an embedding does not depend on who shares its batch;
    - seed: the same seed gives the same weights;
    - resume: a run that is broken off goes on to the weights that it would have had.

    Args:
        method: Your class.
        source: What it is to learn from, as ``vergence.open`` understands it; some of it is looked at.
        encoder: As of ``learn``.
        encoder_options: As of ``learn``.
        **options: Of the method, as of ``learn``.

    Returns:
        The names of the checks, all of which held.

    Raises:
        BadInput: For the first that does not hold: the line says which, and what to look at.
    """
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise BadInput(f"check_method takes a class that derives from Method; got {method!r:.60}.")
    source = open_source(source)
    batch = source.fitting_batch(BATCH, BATCH)
    if 4 * batch < len(source):
        source = source.subset(np.arange(4 * batch))
    settings = {"encoder": encoder, "encoder_options": dict(encoder_options or {})}
    with torch.random.fork_rng():
        _check_step(method, source, settings, options, batch)
    _check_runs(method, source, {**settings, **options}, batch)
    return CHECKS


def _check_step(
    cls: type[Method], source: Source, settings: dict[str, Any], options: dict[str, Any], size: int
) -> None:
    torch.manual_seed(0)
    name = settings["encoder"] or cls.recipe.encoder
    method = cls(new_encoder(name, source, size=cls.recipe.size, **settings["encoder_options"]), **options)
    bind_views(method, source, RunConfig(method=cls.__name__, source=source.uri))
    method.setup(source)
    spec = input_spec(method.encoder)
    sampler = method.batches(source)
    batches = (
        source.loader(size, spec=spec, shuffle=True)
        if sampler is None
        else sampler.epoch(0, seed=0, start=0, rank=0, world=1)
    )
    batch = next(iter(batches))
    seed_step(0, 0, 0)
    with torch.no_grad():
        views = method.views(batch)  # type: ignore[operator]
    terms = checked_terms(method.train().loss(views), method)
    for name, term in terms.items():
        if not torch.isfinite(term):
            raise BadInput(f"{cls.__name__}.loss returns '{name}' as {term.item()}, which is not finite.")
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    named = list(method.named_parameters())
    for missing in (name for name, p in named if p.requires_grad and p.grad is None):
        raise BadInput(
            f"{cls.__name__}: its parameter {missing} gets no gradient: use it in loss, or freeze it "
            "(requires_grad_(False))."
        )
    if bad := [name for name, p in named if p.grad is not None and not torch.isfinite(p.grad).all()]:
        raise BadInput(f"{cls.__name__}: the gradient of {bad[0]} is not finite.")
    _check_alone(method.eval(), source)


def _check_alone(method: Method, source: Source) -> None:
    spec, count = input_spec(method.encoder), min(20, len(source))
    some, one = source.subset(np.arange(count)), source.subset(np.array([count // 2]))
    together, alone = (method.embed(next(iter(part.loader(len(part), spec=spec)))) for part in (some, one))
    if not torch.allclose(alone[0], together[count // 2], rtol=1e-4, atol=1e-5):
        raise BadInput(
            f"{type(method).__name__}: an embedding depends on who shares its batch; its encoder, in "
            "evaluation mode, must look at each sample for itself."
        )


class _Stop(BaseException):
    """Breaks a run off."""


def _check_runs(cls: type[Method], source: Source, settings: dict[str, Any], batch: int) -> None:
    def step_end(self: Method, clock: Any) -> None:
        cls.step_end(self, clock)
        if clock.step == clock.total // 2 + 1:
            raise _Stop

    breaking = type(cls.__name__, (cls,), {"step_end": step_end, "__module__": cls.__module__})
    settings |= {"batch_size": batch, "epochs": 2 if batch < len(source) else 4}
    settings |= {"save_every": 1, "precision": "fp32", "quiet": True}
    with tempfile.TemporaryDirectory() as folder:
        whole, again, broken = (Path(folder) / name for name in ("whole", "again", "broken"))
        first = learn(cls, source, out=whole, **settings)
        if not _equal(first, learn(cls, source, out=again, **settings)):
            raise BadInput(
                f"{cls.__name__}: the same seed gives other weights: draw from torch's own generators only, "
                "which the engine seeds before every step."
            )
        try:
            learn(breaking, source, out=broken, **settings)
        except _Stop:
            given = settings["encoder"] if not isinstance(settings["encoder"], str | None) else None
            resumed = resume(broken, method=cls, source=source, encoder=given, quiet=True)
            if not _equal(first, resumed):
                raise BadInput(
                    f"{cls.__name__}: a run that was broken off ends in other weights: what it remembers "
                    "between steps must lie in parameters or buffers (register_buffer)."
                ) from None


def _equal(first: Run, second: Run) -> bool:
    one, other = first.encoder.state_dict(), second.encoder.state_dict()
    return all(torch.equal(value, other[name]) for name, value in one.items())
