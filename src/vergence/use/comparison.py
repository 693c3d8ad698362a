"""Comparison: what two collections of images share, and what is in one of them only."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vergence.core import RunConfig
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.image.joined import joined
from vergence.engine.encoders import encoder_for
from vergence.engine.run import Run
from vergence.engine.stages import train_method
from vergence.engine.training import start_fabric
from vergence.use import protosim
from vergence.use.protosim import Comparison, ProtoEncoder, ProtoSim


@dataclass(frozen=True, slots=True)
class LearnedComparison(Comparison):
    """Which prototypes, learned for it, the tokens of each collection are.

    ``of(0)`` are those of the first collection alone, ``of(1)`` of the second, ``shared()`` of both, and
    ``examples(0, prototype)`` the rows of the first collection that show most of one.

    Args:
        encoder: Says of every place of an image which prototype it shows.
        sources: The collections.
    """

    encoder: ProtoEncoder
    sources: tuple[Source, ...]


def compare(
    run: str | Path | Run | nn.Module,
    first: Any,
    second: Any,
    *,
    prototypes: int = 256,
    epochs: int = 20,
    seed: int = 0,
    quiet: bool = False,
) -> LearnedComparison:
    """Learn what two collections of images show, and count it in both (``use.protosim``, arXiv:2309.02401).

    Args:
        run: A finished run on images, its folder, or an image encoder, which looks at both.
        first: Images: what ``vergence.open`` understands, or a ``Source``.
        second: Likewise.
        prototypes: How many things are told apart, 2 or more.
        epochs: Passes over both collections.
        seed: Of the learning.
        quiet: Print nothing.

    Raises:
        BadInput: If the run is not finished, its encoder has no tokens, or a collection holds no images.

    >>> shown = compare("runs/photos", "photos/2025", "photos/2026")  # doctest: +SKIP
    >>> [shown.sources[1].names[row] for row in shown.examples(1, shown.of(1)[0])]  # doctest: +SKIP
    ['snow.jpg', 'sledge.jpg']
    """
    sources = open_source(first), open_source(second)
    look = encoder_for(run, sources[0])
    names = sources[0].uri, sources[1].uri
    together = joined(sources, names)
    torch.manual_seed(seed)
    method = ProtoSim(look, prototypes=prototypes, outputs=4096, hidden=1024)
    config = RunConfig(method="protosim", source=together.uri, epochs=epochs, seed=seed, options=None)
    fabric = start_fabric(config, ProtoSim, together)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        trained = train_method(
            method, together, config, out=Path(folder) / "run", fabric=fabric, quiet=quiet
        ).encoder
    assert isinstance(trained, ProtoEncoder)
    counted = protosim.compare(trained, sources, names)
    return LearnedComparison(
        counted.names, counted.counts, counted.assigned, counted.index, encoder=trained, sources=sources
    )
