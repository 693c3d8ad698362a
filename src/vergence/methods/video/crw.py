"""Space-Time Correspondence as a Contrastive Random Walk (CRW), arXiv:2006.14613."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Method, Recipe, pooled
from vergence.data.video.batch import VideoBatch
from vergence.losses.walk import arrival_nce, round_trips
from vergence.methods.video.views import image_encoder, jittered_patches
from vergence.nets import width_of
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.video_encoder import VideoEncoder
from vergence.views.clips import temporal_crop
from vergence.views.pixels.augment import Augment


class CRW(Method):
    """Walk from patch to patch through a clip and back again: whoever comes home knew the way.

    Frames are cut into patches that overlap by half. A walker steps to the next frame's patches by the
    softmax of their likeness, forth and back along the same frames; each patch is its own label at the end.

    Jabri, Owens, Efros 2020, arXiv:2006.14613. Differs from the paper: networks pad as they do everywhere
    (the paper's with mirrored borders), and every stage is trained and kept (the paper drops the last, and
    halves no map after the second). Frames are spread evenly over a random stretch of the window, not a
    fixed number apart. The rate stays; the released code takes 0.3 of it from epoch 20 on. Chances are
    float32 whatever the precision; edges are drawn in the loss, by each process for itself.

    Args:
        encoder: An image encoder on frames (``FrameEncoder``), for pictures of any size as convolutions are.
        dim: Width of the nodes' vectors.
        temperature: τ of each step, above 0.
        dropout: Share of the edges that are cut, in each step and way on their own.
        frames: T of a walk, 2 or more.
        shortest: Steps out that a walk has at least. (The released code leaves walks of one out.)
        longest: At most; None takes T - 1.
        patch: Side of a patch as a share of the frame's.
    """

    recipe = Recipe(optimizer="adam", lr=1e-4, batch=20, epochs=25, schedule="constant", encoder="resnet18")
    encoder: VideoEncoder

    def __init__(
        self,
        encoder: VideoEncoder,
        *,
        dim: int = 128,
        temperature: float = 0.05,
        dropout: float = 0.1,
        frames: int = 4,
        shortest: int = 2,
        longest: int | None = None,
        patch: float = 0.25,
    ) -> None:
        super().__init__(encoder)
        longest = frames - 1 if longest is None else longest
        if temperature <= 0 or not 0 <= dropout < 1 or not 0 < patch <= 2 / 3:
            raise BadInput(
                "CRW needs temperature > 0, dropout in [0, 1) and patches of up to 2/3 of the frame; "
                f"got {temperature}, {dropout} and {patch}."
            )
        if not 1 <= shortest <= longest < frames:
            raise BadInput(
                f"A walk through {frames} frames has 1 to {frames - 1} steps out; "
                f"got shortest={shortest} and longest={longest}."
            )
        self.side = round(patch * encoder.size)
        if self.side < 2:
            raise BadInput(f"Patches of {patch:g} of {encoder.size} pixels are too small; raise --size.")
        image_encoder(encoder, "CRW")
        self.project = nn.Linear(width_of(encoder), dim)
        self.temperature, self.dropout = temperature, dropout
        self.frames, self.walks = frames, slice(shortest - 1, longest)
        self.crop = Augment(
            encoder.size, scale=(0.8, 0.95), ratio=(0.7, 1.3), flip=0.0, jitter_p=0.0, grey=0.0, blur=0.0
        )

    @property
    def nodes(self) -> ImageEncoder:
        """What is put on each patch."""
        return image_encoder(self.encoder, "CRW")

    def views(self, batch: VideoBatch) -> Tensor:
        """Return patches ``(B, T, N, 3, side, side)``: each frame is cropped anew, and each patch in it."""
        b, length = batch.pixels.shape[:2]
        chosen = temporal_crop(b, length, self.frames, span=(0.5, 1.0), device=batch.pixels.device)
        frames = self.crop(batch.take(chosen).images()).pixels
        return jittered_patches(frames, self.side, scale=(0.7, 0.9)).unflatten(0, (b, self.frames))

    def loss(self, views: Tensor) -> dict[str, Tensor]:
        vectors = self.project(pooled(self.nodes(views.flatten(0, 2))))
        nodes = normalize(vectors.unflatten(0, views.shape[:3]), dim=-1)  # (B, T, N, D)
        trips = round_trips(nodes, temperature=self.temperature, dropout=self.dropout)[self.walks]
        home = torch.arange(views.shape[2], device=nodes.device).expand(len(nodes), -1)
        self.watch("came home", (trips[-1].argmax(-1) == home).float().mean())
        return {"cycle": torch.stack([arrival_nce(trip, home) for trip in trips]).mean()}
