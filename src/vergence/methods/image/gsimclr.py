"""G-SimCLR : Self-Supervised Contrastive Learning with Guided Projection via Pseudo Labelling.

arXiv:2009.12007.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from vergence.core import BadInput, InputSpec, Method, Recipe, Stage, input_spec
from vergence.data.image.batch import ImageBatch
from vergence.data.image.source import ImageSource
from vergence.data.source import Source
from vergence.engine import embed
from vergence.engine.distributed import from_first, gather, rank, world
from vergence.losses import nt_xent
from vergence.nets import mlp
from vergence.nets.convnets import ConvNet, conv
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.views.pixels.augment import Augment, View, plain

WIDTHS = (32, 64, 128)


class Denoising(Method):
    """Restore images from faint noise through a map of an eighth of their side: what its means say is kept.

    Args:
        encoder: Whose last map is decoded; ``denoising_encoder`` makes the paper's.
        noise: Deviation of the noise, of pixels in [0, 1].
    """

    recipe = Recipe(optimizer="adam", lr=1e-3, lr_scaling="none", batch=64, epochs=15, schedule="constant")
    encoder: ConvNet

    def __init__(self, encoder: ConvNet, *, noise: float = 0.01) -> None:
        super().__init__(encoder)
        wide = WIDTHS[::-1]
        self.decoder = nn.ModuleList(conv(a, b, 3) for a, b in zip((wide[0], *wide[:-1]), wide, strict=True))
        self.pixels = nn.Conv2d(wide[-1], 3, 3, padding=1)
        self.noise = noise

    def views(self, batch: ImageBatch) -> Tensor:
        """Return images ``(B, 3, S, S)``, undisturbed."""
        return plain(batch, image_size(self.encoder))

    def loss(self, views: Tensor) -> dict[str, Tensor]:
        x = self.encoder(views + self.noise * torch.randn_like(views)).map
        assert x is not None
        for layer in self.decoder:
            x = layer(interpolate(x, scale_factor=2.0))
        restored = torch.sigmoid(self.pixels(interpolate(x, size=views.shape[2:])))
        return {"restore": mse_loss(restored, views)}


def denoising_encoder(size: int) -> ConvNet:
    """Return three convolutions of 32, 64 and 128 channels, each halving the map: ``(B, 128)``, its mean."""
    stages = [
        nn.Sequential(conv(a, b, 3), nn.MaxPool2d(2)) for a, b in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)
    ]
    return ConvNet(stages, size=size, out_dim=WIDTHS[-1])


class GSimCLR(Method):
    """SimCLR in batches of images that look unlike: one of each cluster of a denoising autoencoder's latents.

    Photos are told from the others of their batch. Two of a kind in one batch are pushed apart, too; they are
    few where a batch has one image of each cluster.

    Chakraborty, Gosthipaty, Paul 2020, arXiv:2009.12007. Differs from the paper: images are ranked within
    their cluster anew each epoch, where the released code keeps one order and so the same batches; the
    autoencoder ends after its epochs, not when its loss on test images rises, and sees pixels normalised;
    half of the views turn grey, as the paper says, where the released code leaves them as they are; colours
    change by factors, brightness too; one cosine stands in place of restarts after 1,000 steps.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        clusters: Of the latents, and the images of a batch over all processes; at least 2. Nothing is gained
            where there are far more of them than kinds of images, see ``collision_rate``.
        hidden: Widths of the projector's hidden layers, without batch norm.
        dim: Width of the contrasted vectors.
        temperature: Softmax temperature, above 0.
    """

    recipe = Recipe(optimizer="sgd", lr=0.1, lr_scaling="none", momentum=0.0, batch=64, epochs=15)
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        clusters: int = 64,
        hidden: tuple[int, ...] = (256, 128),
        dim: int = 50,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(encoder)
        if clusters < 2 or temperature <= 0:
            raise BadInput(
                f"GSimCLR needs 2 or more clusters and temperature > 0; got {clusters} and {temperature}."
            )
        self.projector = mlp(encoder.out_dim, *hidden, dim, norm=False)
        self.clusters, self.temperature = clusters, temperature
        self.augment = Augment(
            image_size(encoder), scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter=(0.16, 0.16, 0.16, 0.04),
            jitter_p=0.5, grey=0.5, blur=0.0,
        )  # fmt: skip
        self.cluster: np.ndarray | None = None  # (n,) int64 of the source's images, -1 where one is unread

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.augment = dataclasses.replace(self.augment, **options)

    def stages(self, source: Source) -> Sequence[Stage]:
        """Return the autoencoder, and SimCLR in batches that its clusters make."""
        if len(source) < self.clusters:
            raise BadInput(
                f"GSimCLR needs as many images as clusters; got {len(source)} and {self.clusters}. "
                "Take fewer clusters."
            )
        check_divides(self.clusters, world())

        def contrast(before: dict[str, Any]) -> GSimCLR:
            self.cluster = self.clustered(before["autoencoder"].encoder, source)
            return self

        size = image_size(self.encoder)
        return [
            Stage("autoencoder", lambda _: Denoising(denoising_encoder(size))),
            Stage("contrast", contrast),
        ]

    def clustered(self, encoder: nn.Module, source: Source) -> np.ndarray:
        """Return the cluster of each image by k-means on an encoder's vectors, ``(n,)``: process 0's."""
        cluster = np.full(len(source), -1)
        if rank() == 0:
            from sklearn.cluster import KMeans

            embedded = embed(encoder, source)
            assigned = KMeans(self.clusters, n_init=1, random_state=0).fit_predict(embedded.vectors)
            cluster[embedded.index] = assigned
        return from_first(torch.from_numpy(cluster)).numpy()

    def batches(self, source: Source) -> Guided | None:
        if self.cluster is None:
            return None
        assert isinstance(source, ImageSource)
        return Guided(source, self.cluster, self.clusters, input_spec(self.encoder))

    def views(self, batch: ImageBatch) -> list[View]:
        return [self.augment(batch) for _ in range(2)]

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        first, second = (self.projector(self.encode(view)) for view in views)
        everyone = gather(first), gather(second)  # own rows first
        return {"contrast": nt_xent(*everyone, temperature=self.temperature, anchors=len(first))}


class Guided:
    """Batches with one image of each cluster, as long as all clusters have some.

    Images are ranked within their cluster at random; a batch takes those of one rank. Where small clusters
    are used up, batches hold several images of the large ones; ``collision_rate`` says what that does.

    Args:
        source: Of all images.
        cluster: ``(n,)`` int64, of each image; those of -1 are left out.
        size: Images a batch over all processes.
        spec: What the encoder must be given.
    """

    def __init__(
        self, source: ImageSource, cluster: np.ndarray, size: int, spec: InputSpec | None = None
    ) -> None:
        self.source, self.cluster, self.size, self.spec = source, cluster, size, spec

    def __len__(self) -> int:
        return int((self.cluster >= 0).sum()) // self.size

    def order(self, epoch: int, *, seed: int) -> np.ndarray:
        """Return the images in the order of an epoch, ``(batches, size)``."""
        random = np.random.default_rng([seed % 2**64, epoch])
        rows = random.permutation(np.flatnonzero(self.cluster >= 0))
        rows = rows[np.argsort(self.cluster[rows], kind="stable")]
        counts = np.bincount(self.cluster[rows])
        rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = rows[np.argsort(rank, kind="stable")]
        return rows[: len(self) * self.size].reshape(-1, self.size)

    def epoch(self, epoch: int, *, seed: int, start: int, rank: int, world: int) -> Iterator[ImageBatch]:
        """Yield the batches of process ``rank`` of ``world``, among which each batch is divided."""
        check_divides(self.size, world)
        part = self.source.subset(self.order(epoch, seed=seed).ravel())
        return part.loader(
            self.size // world, spec=self.spec, start=start, drop_last=True, rank=rank, world=world
        )


def check_divides(clusters: int, processes: int) -> None:
    """Raise BadInput where the images of a batch, one a cluster, do not divide among processes."""
    if clusters % processes:
        raise BadInput(f"GSimCLR needs clusters that divide among {processes} processes; got {clusters}.")


def collision_rate(batches: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of a batch's pairs that are of one class, which contrast pushes apart all the same.

    Batches drawn at random have the sum of the squared shares of the classes, about.

    Args:
        batches: ``(N, B)`` int64 with B >= 2, the images of each batch.
        labels: ``(n,)`` of each image.
    """
    same = labels[batches][:, :, None] == labels[batches][:, None]  # (N, B, B)
    size = batches.shape[1]
    return float((same.sum((1, 2)) - size).mean() / (size * (size - 1)))
