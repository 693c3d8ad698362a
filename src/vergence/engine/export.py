"""Exports of a trained encoder: ONNX, torch.export, a state dict of timm's, a folder as a model hub has it.

What is exported is read back and compared with the encoder's own answers before it is put in place.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vergence.core import BadInput, VergenceError, input_spec, need, pooled, preprocessing, unknown
from vergence.core.run_config import RunConfig
from vergence.core.specs import innermost
from vergence.engine.files import disk_errors, first_line, write_whole
from vergence.engine.model_card import card
from vergence.nets.timm_encoder import TimmEncoder

TOLERANCE = 1e-4  # of the largest value of a vector, between an export and the encoder


class VectorsOfPixels(nn.Module):
    """Pixels ``(B, 3, S, S)`` float32 in [0, 1], not yet normalised -> vectors ``(B, D)``."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        return pooled(self.encoder(pixels))


def export(encoder: nn.Module, config: RunConfig, to: str, out: Path, *, scores: Path | None = None) -> Path:
    """Export a run's encoder to ``out``; see ``Run.export``.

    Args:
        encoder: The trained one.
        config: Of the run.
        to: A name of ``FORMATS``.
        out: File, or folder of "hub".
        scores: File that ``vergence measure`` wrote, for the card.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    if out.exists():
        raise BadInput(f"{out} exists already: choose another place for the export.")
    training, device = encoder.training, next((p.device for p in encoder.parameters()), torch.device("cpu"))
    try:
        FORMATS[to](encoder.cpu().eval(), config, out, scores)
    finally:
        encoder.to(device).train(training)
    return out


def _onnx(encoder: nn.Module, config: RunConfig, out: Path, scores: Path | None) -> None:
    """Write an ONNX file of opset 18 or later, input ``pixels``, output ``vectors``, any batch."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        need(module, extra="export")
    import onnxruntime

    model, pixels = _traced(encoder, config)
    program = _quietly(
        lambda: torch.onnx.export(
            model, (pixels,), dynamo=True, input_names=["pixels"], output_names=["vectors"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
        ),
        config,
    )  # fmt: skip
    program.model.metadata_props["preprocessing"] = json.dumps(preprocessing(encoder))

    def write(aside: Path) -> None:
        program.save(str(aside), external_data=False)
        session = onnxruntime.InferenceSession(str(aside), providers=["CPUExecutionProvider"])
        _compare(model, pixels, lambda x: torch.from_numpy(session.run(None, {"pixels": x.numpy()})[0]))

    write_whole(out, write)


def _torch(encoder: nn.Module, config: RunConfig, out: Path, scores: Path | None) -> None:
    """Write a program of ``torch.export``: ``torch.export.load(out).module()`` runs without vergence."""
    model, pixels = _traced(encoder, config)
    shapes = {"pixels": {0: torch.export.Dim("batch")}}
    about = {"preprocessing.json": json.dumps(preprocessing(encoder))}

    def traced() -> bytes:
        written = io.BytesIO()
        program = torch.export.export(model, (pixels,), dynamic_shapes=shapes)
        torch.export.save(program, written, extra_files=about)
        return written.getvalue()

    content = _quietly(traced, config)

    def write(aside: Path) -> None:
        aside.write_bytes(content)
        _compare(model, pixels, torch.export.load(io.BytesIO(aside.read_bytes())).module())

    write_whole(out, write)


def _timm(encoder: nn.Module, config: RunConfig, out: Path, scores: Path | None) -> None:
    """Write the state dict of timm's model under timm's names, without a classifier."""
    net = _timms(encoder)
    if net is None:
        raise BadInput(
            f"{config.method}'s encoder is {_name(encoder)}, which is none of timm's: export it to hub, onnx "
            "or torch."
        )
    state = {name: value.contiguous() for name, value in net.model.state_dict().items()}
    about = {"architecture": _name(net), "preprocessing": json.dumps(preprocessing(encoder))}
    write_whole(out, lambda aside: save_file(state, str(aside), metadata=about))


def _hub(encoder: nn.Module, config: RunConfig, out: Path, scores: Path | None) -> None:
    """Write a folder as a model hub has it: ``model.safetensors``, ``config.json`` and ``README.md``."""
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            _fill_hub(encoder, config, aside, scores)
            aside.chmod(0o755)
            aside.rename(out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _fill_hub(encoder: nn.Module, config: RunConfig, folder: Path, scores: Path | None) -> None:
    settings = preprocessing(encoder)
    net = _timms(encoder)
    about = {"method": config.method, "modality": config.modality, "preprocessing": settings}
    if net is not None:
        from timm.models import save_for_hf

        used = {
            "input_size": [3, net.size, net.size], "mean": settings["mean"], "std": settings["std"],
            "interpolation": settings["interpolation"], "crop_pct": net.settings["crop"],
        }  # fmt: skip
        save_for_hf(
            net.model,
            str(folder),
            model_config={"pretrained_cfg": used, "vergence": about},
            safe_serialization=True,
        )
    else:
        spec = getattr(encoder, "spec", None) or {"name": type(encoder).__name__}
        save_file({k: v.contiguous() for k, v in _own_tensors(encoder).items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(
            json.dumps({**about, "encoder": spec}, indent=2, default=str) + "\n"
        )
    (folder / "README.md").write_text(card(encoder, config, timms=net is not None, scores=scores))


def _own_tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the state dict without second names of one tensor."""
    seen: dict[int, str] = {}
    state = encoder.state_dict(keep_vars=True)
    return {name: t.detach() for name, t in state.items() if seen.setdefault(id(t), name) == name}


FORMATS: dict[str, Callable[[nn.Module, RunConfig, Path, Path | None], None]] = {
    "onnx": _onnx,
    "torch": _torch,
    "timm": _timm,
    "hub": _hub,
}
SUFFIXES = {"onnx": "encoder.onnx", "torch": "encoder.pt2", "timm": "timm.safetensors", "hub": "hub"}


def _traced(encoder: nn.Module, config: RunConfig) -> tuple[nn.Module, Tensor]:
    """Return the network from pixels to vectors, and pixels to trace it with."""
    size = (input_spec(encoder) or {}).get("size")
    if config.modality != "image" or size is None:
        raise BadInput(
            f"Only encoders of images have one tensor as input, which onnx and torch need; that of "
            f"{config.method} reads {config.modality}: export it to hub."
        )
    generator = torch.Generator().manual_seed(0)
    return VectorsOfPixels(encoder), torch.rand(2, 3, size, size, generator=generator)


def _quietly(make: Callable[[], Any], config: RunConfig) -> Any:
    """Trace, without what the tracer says of itself; a network that it cannot follow is one line."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            return make()
    except Exception as error:
        raise VergenceError(
            f"torch cannot trace the encoder of {config.method}: {first_line(error)}. Export it to hub."
        ) from error
    finally:
        logger.setLevel(level)


def _compare(model: nn.Module, pixels: Tensor, exported: Callable[[Tensor], Tensor]) -> None:
    """Raise ``VergenceError`` unless an export answers as the encoder does, for one picture and for more."""
    for batch in (pixels[:1], torch.cat([pixels, 1 - pixels, pixels.flip(3)])[:5]):
        with torch.no_grad():
            expected = model(batch)
            try:
                got = exported(batch)
            except Exception as error:
                raise VergenceError(
                    f"The export cannot read a batch of {len(batch)}: {first_line(error)}."
                ) from error
        off = float((expected - got).abs().max() / expected.abs().max().clamp_min(1e-12))  # NaN is off too
        if not off <= TOLERANCE:
            raise VergenceError(
                f"The export does not answer as the encoder does: off by {off:.1e} of the largest value in a "
                f"batch of {len(batch)}; at most {TOLERANCE:g} is put up with. Nothing was written."
            )


def _timms(encoder: nn.Module) -> TimmEncoder | None:
    return encoder if isinstance(encoder, TimmEncoder) else None


def _name(encoder: nn.Module) -> str:
    spec = getattr(encoder, "spec", None) or {}
    name = innermost(spec).get("name", type(encoder).__name__)
    return str(name).removeprefix("timm:")
