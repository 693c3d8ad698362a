"""A Self-Supervised Descriptor for Image Copy Detection.

Pizzi, Roy, Ravindra, Goyal, Douze 2022, arXiv:2202.10261.

SimCLR made to find edited copies among millions of pictures. What is kept is the descriptor itself, not
what lies below a projector: generalised-mean pooling, a linear layer, unit length (``Descriptor``). Two
strongly edited views a photo are contrasted (Sec. 4.1),

    L_i = mean_{j in P_i} -log [ e^{s_ij/t} / (e^{s_ij/t} + Σ_{n in N_i} e^{s_in/t}) ],

and every vector is pushed away from its nearest one that shows something else, so that the vectors fill
the sphere and one threshold serves all queries (Sec. 4.2):

    L_KoLeo = -λ mean_i log min_{n in N_i} |z_i - z_n|.

A few views are blends of two photos (MixUp or CutMix); all views with a photo in common are matches P_i,
the rest are N_i (Sec. 4.4). At search, descriptors are whitened on a background of other photos, and their
level there is taken off the scores: ``use.background``, ``vergence search --background``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vergence.core import BadInput, Method, Recipe, pooled
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather
from vergence.losses import content_nce, koleo
from vergence.nets.descriptor import Descriptor
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.views.pixels import colour, geometry
from vergence.views.pixels.augment import Augment
from vergence.views.pixels.compression import jpeg
from vergence.views.pixels.copies import overlay_text
from vergence.views.pixels.geometry import quarter_turns, uniform
from vergence.views.pixels.stickers import paste_sticker


@dataclass(frozen=True, slots=True)
class Copied:
    """What one step looks at.

    Args:
        pixels: ``(2B, 3, S, S)`` in [0, 1], one view of every photo, then another of each.
        content: ``(2B, 2)`` int64, the photos that each shows; twice the same where it shows one.
    """

    pixels: Tensor
    content: Tensor


class SSCD(Method):
    """Find a photo's other copy among those of all others, and keep away from the nearest other photo.

    Differs from the paper: stickers are drawn shapes, not emoji; texts, stickers and turns come after the
    crop, hue turns by a sixth of the circle at most; test pictures have the size of the training views.
    Across processes blends are told by the photos they show, so that matches may lie in another process.

    Args:
        encoder: A convolutional network; made a ``Descriptor``, if it is none yet.
        dim: Width of the descriptor.
        temperature: t, above 0.
        entropy: λ, 0 or more. 30 needs residual branches that start at 0, as timm's ResNets have; the
            paper's code advises 10 for others.
        blend: Share of the views that are blended with another, in [0, 1].
    """

    recipe = Recipe(
        optimizer="lars", lr=4.8, lr_scaling="linear", batch=4096, epochs=100, weight_decay=1e-6, warmup=5
    )
    encoder: Descriptor

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        dim: int = 512,
        temperature: float = 0.05,
        entropy: float = 30.0,
        blend: float = 0.05,
    ) -> None:
        super().__init__(encoder if isinstance(encoder, Descriptor) else Descriptor(encoder, dim))
        if temperature <= 0 or entropy < 0 or not 0 <= blend <= 1:
            raise BadInput(
                f"SSCD needs temperature > 0, entropy of 0 or more and blend in [0, 1]; got {temperature}, "
                f"{entropy} and {blend}."
            )
        self.temperature, self.entropy, self.blend = temperature, entropy, blend
        self.edit = Edits(Augment(image_size(encoder), scale=(0.08, 1.0), jitter_p=0.0, grey=0.0, blur=0.0))

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.edit = Edits(
            replace(self.edit.crop, **{k: v for k, v in options.items() if k in ("flip", "scale")})
        )

    def views(self, batch: ImageBatch) -> Copied:
        pixels = torch.cat([self.edit(batch), self.edit(batch)])
        return blended(pixels, batch.index.repeat(2), self.blend)

    def loss(self, views: Copied) -> dict[str, Tensor]:
        own = pooled(self.encoder(views.pixels))  # z, unit length
        everyone, content = gather(own), gather(views.content)  # own rows first
        terms = {
            "copies": content_nce(everyone, content, temperature=self.temperature, anchors=len(own)),
        }
        spread = koleo(everyone, content=content, anchors=len(own))
        self.watch("nearest_other", torch.exp(-spread.detach()))  # geometric mean of the distances
        if self.entropy:
            terms["entropy"] = self.entropy * spread
        return terms


@dataclass(frozen=True, slots=True)
class Edits:
    """The paper's advanced edits (Sec. 4.3), drawn for each photo.

    Args:
        crop: Makes the crop and the mirror image, without colour.
        turn: Probability of a quarter turn or two or three, and of any other turn.
        text: Probability of a line of letters.
        sticker: Probability of a sticker of 0.1 to 0.5 of the side.
        jitter: Probability that brightness, contrast and saturation are multiplied by 0.2 to 1.8 and the
            hue is turned.
        grey: Probability.
        blur: Probability of a blur by 1 to 5 pixels of 224.
        squeeze: Probability of JPEG, of any quality.
    """

    crop: Augment
    turn: float = 0.05
    text: float = 0.1
    sticker: float = 0.2
    jitter: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    squeeze: float = 0.2

    def __call__(self, batch: ImageBatch, generator: torch.Generator | None = None) -> Tensor:
        """Return one view of every photo, ``(B, 3, S, S)`` in [0, 1]."""
        x = self.crop(batch, generator).pixels.clamp(0, 1).contiguous()
        b, size = len(x), self.crop.size

        def chosen(p: float) -> Tensor:
            return torch.rand(b, generator=generator, device=x.device) < p

        quarters = torch.randint(1, 4, (b,), generator=generator, device=x.device)
        x = colour.on_rows(x, chosen(self.turn), quarter_turns, quarters)
        x = colour.on_rows(x, chosen(self.text), lambda rows: overlay_text(rows, generator))
        sticker = partial(paste_sticker, generator=generator, side=(0.1, 0.5), opacity=(0.7, 1))
        x = colour.on_rows(x, chosen(self.sticker), sticker)
        sizes = x.new_tensor([size, size]).expand(b, 2)
        angle = uniform(b, 0, 2 * torch.pi, x, generator)
        motion = geometry.affine_matrix(sizes, angle=angle)[:, :2]
        x = colour.on_rows(x, chosen(self.turn), lambda rows, m: geometry.warp(rows, m, size), motion)

        factors = 1 + 1.6 * torch.rand((3, b), generator=generator, device=x.device) - 0.8
        hue = uniform(b, -1 / 6, 1 / 6, x, generator)
        x = colour.on_rows(x, chosen(self.jitter), _recoloured, *factors, hue)
        x = colour.on_rows(x, chosen(self.grey), colour.greyscale)
        sigma, width = uniform(b, 1 / 224, 5 / 224, x, generator) * size, 2 * (15 * size // 224) + 1
        x = colour.on_rows(x, chosen(self.blur), lambda rows, s: colour.gaussian_blur(rows, s, width), sigma)
        return colour.on_rows(x, chosen(self.squeeze), jpeg, uniform(b, 1, 100, x, generator))


def _recoloured(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    x = colour.adjust_saturation(
        colour.adjust_contrast(colour.adjust_brightness(x, brightness), contrast), saturation
    )
    return colour.adjust_hue(x, hue)


def blended(pixels: Tensor, photos: Tensor, share: float) -> Copied:
    """Blend some views with others: half of them all over (MixUp), half in a rectangle (CutMix).

    Args:
        pixels: ``(N, 3, S, S)``; view i may be blended with view N - 1 - i.
        photos: ``(N,)`` int64, what each shows.
        share: Of the views that are blended, in [0, 1]; how much of itself each keeps is drawn from
            Beta(2, 2).
    """
    n, _, size, _ = pixels.shape
    device = pixels.device
    mixed = torch.rand(n, device=device) < share
    keep = torch.rand(n, 3, device=device).median(1).values  # the middle of three is Beta(2, 2)
    side = size * (1 - keep).sqrt()
    middle = size * torch.rand(2, n, device=device)
    at = torch.arange(size, device=device) + 0.5
    rows, columns = ((at - m[:, None]).abs() < side[:, None] / 2 for m in middle)
    outside = ~(rows[:, :, None] & columns[:, None])  # (N, S, S)
    cut = torch.rand(n, device=device) < 0.5
    weight = torch.where(cut[:, None, None], outside.float(), keep[:, None, None])
    weight = torch.where(mixed[:, None, None], weight, 1.0)
    other = photos.flip(0)
    content = torch.stack(
        [
            torch.where((weight > 0).flatten(1).any(1), photos, other),
            torch.where((weight < 1).flatten(1).any(1), other, photos),
        ],
        1,
    )
    weight = weight[:, None]
    return Copied(weight * pixels + (1 - weight) * pixels.flip(0), content)
