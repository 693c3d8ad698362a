"""Settings of a run that are wrong in what they say: kinds, names, sizes, aliases."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vergence.benchmarks.stress.drawn import EDGES, exchanged
from vergence.benchmarks.stress.hostile import Kind
from vergence.core.errors import BadInput
from vergence.core.recipe import Recipe
from vergence.core.run_config import RunConfig
from vergence.engine.encoders import load
from vergence.engine.run import read_config

ENCODERS: tuple[dict[str, Any], ...] = (
    {"name": "resnet-tiny", "size": 16, "width": 4},
    {"name": "vit-micro", "size": 16, "registers": 1},
    {"name": "timm:resnet10t", "size": 16, "layers": [1, 1, 1, 1]},
    {"name": "vergence.nets.descriptor:Descriptor", "dim": 8, "encoder": {"name": "resnet-tiny", "width": 4}},
    {"name": "gcn", "in_dim": 4, "width": 4},
)
ASKED: dict[str, Any] = {
    "pretrained_cfg": {"url": "https://example.org/w.pth", "file": "/etc/passwd"},
    "pretrained_cfg_overlay": {"file": "/etc/passwd"},
    "checkpoint_path": "/etc/passwd",
    "cache_dir": "/tmp",
    "pretrained": True,
}


ODD_LINES = (
    "<<: *x", "a: &a [*a]", "? [x]\n: 1", "? {a: 1}", "a: " + "1:" * 3000 + "1", "- x", "\t x: 1",
    "a: !!binary x",
    "a: !!python/tuple [1]", "a: !!timestamp 2026-99-99", "a: 0x" + "f" * 5000, "%YAML 9.9", "--- a", "a: |",
    "'",
    "a: !!set {x, [y]}", "a: !!omap [x]", "a: !<x> y", "epochs: " + "9" * 30, "lr: .nan", "samples: 1e400",
    "source: \x85", "name: '\\ud800'",
)  # fmt: skip


def plain(number: int) -> dict[str, Any]:
    modality = "graph" if ENCODERS[number]["name"] == "gcn" else "image"
    config = RunConfig(
        method="simclr", source="digits", modality=modality, encoder=ENCODERS[number], recipe=Recipe(),
        options={"temperature": 0.5}, views={"flip": 0.5}, versions={"torch": "2.9.0"}, samples=9,
    )  # fmt: skip
    read: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return read


def configs(folder: Path) -> list[bytes]:
    return [yaml.safe_dump(plain(i), sort_keys=False).encode() for i in range(len(ENCODERS))]


def drawn(draw: np.random.Generator) -> bytes:
    """Return a ``config.yaml`` with values exchanged, options that reach outside, or a text that grows."""
    content = plain(int(draw.integers(len(ENCODERS))))
    way = draw.random()
    if way < 0.5:
        for _ in range(draw.integers(1, 4)):
            name = str(draw.choice(list(content)))
            content[name] = exchanged(content[name], draw)
    elif way < 0.7:
        option = str(draw.choice([*ASKED, "size", "width", "registers", "layers", "encoder", "dim", "name"]))
        edge = int(draw.choice([e for e in EDGES if abs(e) < 2**12]))
        content["encoder"][option] = ASKED.get(option, [edge, [edge], "x", None, {}][draw.integers(5)])
    text = yaml.safe_dump(content, sort_keys=False)
    if way >= 0.7:
        lines, at = text.splitlines(), int(draw.integers(len(text.splitlines())))
        alias = "".join(f"a{i}: &a{i} [{f'*a{i - 1}, *a{i - 1}' if i else 'x'}]\n" for i in range(30))
        lines.insert(
            at,
            [alias, "[" * int(draw.integers(1, 3000)), *ODD_LINES][draw.integers(2 + len(ODD_LINES))],
        )
        text = "\n".join(lines)
    return text.encode(errors="replace")


def read(folder: Path, raw: bytes) -> None:
    """Read the settings, and build the encoder that they name as far as its missing weights."""
    from vergence.reports.build import command  # which loads lance, and that does not survive a fork

    (folder / "config.yaml").write_bytes(raw)
    before = set(os.listdir("/proc/self/fd"))
    config = read_config(folder)
    command(config), repr(config), config.differs(9, ["a"])
    try:
        load(folder)
    except BadInput as error:
        if "encoder.safetensors is missing" not in str(error):
            raise
    finally:
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 8, "it left files open"


FILES = [
    Kind(
        "settings",
        configs,
        read,
        drawn,
        imports=("vergence.methods.image.encoders", "timm", "torch_geometric.nn"),
    ),
]
