"""Model cards: a page beside exported weights about data, method, scores and how to use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from vergence import catalog
from vergence.core import BadInput, preprocessing
from vergence.core.run_config import RunConfig
from vergence.core.specs import label

_TIMM = """import timm

encoder = timm.create_model("local-dir:.", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(encoder), is_training=False)"""
_OURS = """import json

import vergence
from safetensors.torch import load_model

about = json.load(open("config.json"))
encoder = vergence.encoder(**about["encoder"], modality=about["modality"]).eval()
load_model(encoder, "model.safetensors")"""
_OWN = """# Make the encoder as it was made for training, then:
from safetensors.torch import load_model

load_model(encoder, "model.safetensors")"""


def card(encoder: nn.Module, config: RunConfig, *, timms: bool, scores: Path | None = None) -> str:
    """Return the card in Markdown, with the fields that hubs read before it.

    Args:
        encoder: The trained one.
        config: Of its run.
        timms: Whether timm loads the weights.
        scores: File of the table that ``vergence measure`` wrote; None, or one that is missing, for none.
    """
    spec = getattr(encoder, "spec", None) or {}
    head = {
        "library_name": "timm" if timms else "vergence",
        "tags": ["self-supervised-learning", config.method, *(["image-feature-extraction"] * timms)],
    }
    use = _TIMM if timms else _OURS if len(spec) > 1 or ":" not in str(spec.get("name", ":")) else _OWN
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {label(spec)} by {config.method}",
        f"An encoder of {getattr(encoder, 'out_dim', '?')} values a sample, learned without labels.",
        f"## Data\n\n`{config.source}`: {config.samples:,} samples ({config.modality}).",
        f"## Method\n\n{_method(config)}",
        f"## Scores\n\n{_scores(scores)}",
        f"## Use\n\nIn this folder:\n\n```python\n{use}\n```",
    ]
    if settings := preprocessing(encoder):
        lines = "\n".join(f"- {name}: {value}" for name, value in settings.items())
        parts.insert(5, f"## Preprocessing\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def _method(config: RunConfig) -> str:
    try:
        paper = catalog.find(config.method)
        name = f"[{paper.title}]({paper.url})" if paper.url else paper.title
        lines = [f"{config.method}: {name}, {paper.year}."]
    except BadInput:
        lines = [f"{config.method}, a method of its author's own."]
    if config.recipe is not None:
        recipe = config.recipe
        lines.append(
            f"{recipe.epochs} epochs, {recipe.optimizer}, batch {config.batch_size}, weight decay "
            f"{recipe.weight_decay:g}, seed {config.seed}, {config.precision}, {config.device}."
        )
    if config.init:
        lines.append(f"Its weights began with {config.init}.")
    versions = ", ".join(f"{name} {number}" for name, number in config.versions.items())
    lines.append(f"With {versions or 'vergence'}: `{config.command}`.")
    return "\n".join(lines)


def _scores(path: Path | None) -> str:
    if path is None or not path.is_file():
        return "Not measured."
    try:
        table: dict[str, Any] = json.loads(path.read_text())
        columns = list(dict.fromkeys(column for row in table["rows"].values() for column in row))
        lines = [["", *table["rows"]], ["---", *["---:"] * len(table["rows"])]]
        lines += [[column, *(_cell(row.get(column)) for row in table["rows"].values())] for column in columns]
        about = table.get("about") or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{path} is no table that vergence measure wrote; measure again or remove it."
        ) from error
    grid = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"Percent, with 95 % intervals, on {about.get('source', 'its data')}.\n\n{grid}"


def _cell(score: dict[str, Any] | None) -> str:
    return (
        ""
        if score is None
        else f"{100 * score['value']:.1f} [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"
    )
