"""Run: the folder that training leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors.torch import load_model, save_model
from torch import nn

from vergence.core.errors import BadInput, unknown
from vergence.core.run_config import RunConfig
from vergence.engine.embedding import embed
from vergence.engine.files import read_yaml, write_whole
from vergence.engine.logger import read_csv

if TYPE_CHECKING:
    from vergence.data import Source
    from vergence.store.table import Store

Workers = Literal["ray"]
Format = Literal["onnx", "torch", "timm", "hub"]


class Run:
    """A finished or interrupted training.

    ``config.yaml`` (its ``config``, enough to repeat it), ``samples.parquet`` (what it learned from),
    ``metrics.csv``, ``health.csv``, ``skipped.csv``, ``encoder.safetensors``, ``checkpoint/last.pt``,
    ``tensorboard/``.

    Args:
        path: The folder.
        encoder: The trained encoder in evaluation mode.

    Raises:
        BadInput: If the folder is not a run.
    """

    def __init__(self, path: str | Path, encoder: nn.Module) -> None:
        self.path = Path(path)
        self.config = read_config(self.path)
        self.encoder = encoder.eval()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, method={self.config.method!r}, source={self.config.source!r})"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.csv``."""
        return read_csv(self.path / "metrics.csv")

    @property
    def health(self) -> list[dict[str, Any]]:
        """The rows of ``health.csv``."""
        return read_csv(self.path / "health.csv")

    def embed(
        self,
        source: str | Path | Source,
        out: str | Path | None = None,
        *,
        overwrite: bool = False,
        workers: Workers | None = None,
    ) -> Store:
        """Write the embeddings of ``source`` to a table at ``out``, by default inside the run.

        Args:
            source: What ``vergence.open`` understands, or a ``Source``.
            out: Where the table goes; it appears there whole or not at all.
            overwrite: Replace a table that is there.
            workers: "ray" has the workers of Ray do it, on this machine or on many; whatever is killed,
                the same call again goes on with the parts that are missing. None does it in this process.

        Raises:
            BadInput: If the source cannot be used, or there is a table already and not ``overwrite``.
        """
        path = out or self.path / "embeddings.lance"
        return fill(self.encoder, source, path, model=str(self.path), overwrite=overwrite, workers=workers)

    def export(self, to: Format, *, out: str | Path | None = None) -> Path:
        """Write the encoder for use without vergence, and return where it is.

        Args:
            to: "onnx", one file with input ``pixels (B, 3, S, S)`` in [0, 1] and output ``vectors (B, D)``
                for any B; "torch", the same as a program of ``torch.export``; "timm", timm's state
                dict; "hub", a folder as model hubs have it: ``model.safetensors``, ``config.json`` and card.
            out: File, or folder of "hub"; None puts it into the run.

        Raises:
            BadInput: If the encoder cannot be exported so, or something is at ``out``.
            MissingExtra: If what writes ONNX is not installed.
            VergenceError: If the export does not answer as the encoder does; nothing is written then.
        """
        from vergence.engine.export import FORMATS, SUFFIXES, export

        if to not in FORMATS:
            raise unknown("format", to, FORMATS)
        place = self.path / SUFFIXES[to] if out is None else Path(out)
        return export(self.encoder, self.config, to, place, scores=self.path / "measure.json")


def fill(
    encoder: nn.Module,
    source: str | Path | Source,
    out: str | Path,
    *,
    model: str,
    overwrite: bool = False,
    workers: Workers | None = None,
) -> Store:
    """Write embeddings to a table; see ``Run.embed``.

    Args:
        encoder: Takes the source's batches.
        source: As of ``Run.embed``.
        out: As of ``Run.embed``.
        model: What the table says made its vectors.
        overwrite: As of ``Run.embed``.
        workers: As of ``Run.embed``.
    """
    from vergence.data import open as open_source
    from vergence.store.table import Store

    source = open_source(source)
    if workers is None:
        return Store.create(out, source, embed(encoder, source), model=model, overwrite=overwrite)
    if workers != "ray":
        raise unknown("kind of workers", workers, ("ray",))
    from vergence.engine.ray_embedding import embed_with_ray

    return embed_with_ray(encoder, source, out, model=model, overwrite=overwrite)


def read_config(run: Path) -> RunConfig:
    """Read the settings of the run at ``run``, of this version or an earlier one.

    Raises:
        BadInput: If the folder is not a run, or its ``config.yaml`` is not as vergence wrote it.
    """
    path = run / "config.yaml"
    return RunConfig.from_dict(read_yaml(path), str(path))


def save_encoder(encoder: nn.Module, path: Path) -> None:
    write_whole(path, lambda aside: save_model(encoder, str(aside)))


def load_encoder(encoder: nn.Module, path: Path) -> nn.Module:
    """Fill ``encoder`` with the weights at ``path``.

    Raises:
        BadInput: If the file is missing, broken, or holds another architecture.
    """
    if not path.exists():
        raise BadInput(f"{path} is missing: the run has not finished; go on with --resume {path.parent}.")
    try:
        load_model(encoder, str(path))
    except Exception as error:
        raise BadInput(f"{path} does not fit this encoder: {str(error).splitlines()[0]}") from error
    return encoder
