"""Automatic Shortcut Removal for Self-Supervised Representation Learning, arXiv:2002.08822."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from vergence.core import BadInput, Recipe, Turn, input_spec, pooled
from vergence.core.specs import wrapping
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.rotnet import RotNet
from vergence.nets import width_of
from vergence.nets.image_encoder import ImageEncoder, Images, image_size
from vergence.nets.unet import UNet
from vergence.views.pixels.augment import View, plain

Turned = tuple[Tensor, Tensor]


class Lensed(nn.Module):
    """An encoder that sees a photo as it is and through a lens; a run of ``Lens`` keeps this one.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``; this one gives ``(B, 2 D)``.
        width: Channels of the lens at full size.
        depth: How often the lens halves the photo.
    """

    def __init__(self, encoder: nn.Module, *, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.backbone = encoder
        self.out_dim = 2 * width_of(encoder)
        self.input_spec = input_spec(encoder)
        self.spec = wrapping(self, encoder, width=width, depth=depth)
        self.change = UNet(width=width, depth=depth)

    def lens(self, pixels: Tensor) -> Tensor:
        """Return L(x), not clipped, of pixels ``(B, 3, S, S)`` in [0, 1]; ``L(x) - x`` shows the shortcut."""
        return pixels + self.change(pixels)

    def forward(self, images: Images) -> Tensor:
        if isinstance(images, ImageBatch):
            images = plain(images, image_size(self))
        elif isinstance(images, View):
            images = images.pixels
        pixels = images / 255 if images.dtype == torch.uint8 else images
        return torch.cat([pooled(self.backbone(seen)) for seen in (pixels, self.lens(pixels))], 1)


class Lens(RotNet):
    """Let an adversary erase what gives the turn of a photo away too easily, then tell the turn without it.

    Minderer, Bachem, Houlsby, Tschannen 2020, arXiv:2002.08822. The lens, an image-to-image network, makes
    the task as hard as it can with small changes; what is the first to be used is the first to go.

    Differs from the paper: of its four pretext tasks rotation is the one here, with the augmentation of
    ``RotNet``; the lens starts as the identity. How the paper scales pixels under λ is not known to us: here
    they are in [0, 1] and the squared change is a mean over pixels, so that the default says what half of 320
    says of pixels of deviation 1/4 (a port's run on CIFAR-10). It must be scanned for other data.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        penalty: λ of the mean squared change, above 0: the larger, the less the lens may change.
        least_likely: The lens aims at the answer that is least likely; else away from the right one.
        width: Channels of the lens at full size.
        depth: How often the lens halves the photo; S is 2^depth or more.
        lens_lr: Learning rate of the lens's own Adam, above 0.
        shift: As of ``RotNet``.
        flip: As of ``RotNet``.
    """

    encoder: Lensed  # type: ignore[assignment]

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        penalty: float = 2_560.0,
        least_likely: bool = True,
        width: int = 64,
        depth: int = 4,
        lens_lr: float = 1e-4,
        shift: float = 0.125,
        flip: float = 0.5,
    ) -> None:
        super().__init__(encoder, shift=shift, flip=flip)
        if penalty <= 0 or lens_lr <= 0:
            raise BadInput(f"Lens needs a penalty and a lens_lr above 0; got {penalty} and {lens_lr}.")
        if image_size(encoder) < 2**depth:
            raise BadInput(
                f"A lens that halves {depth} times needs images of {2**depth} pixels or more; "
                f"got {image_size(encoder)}. Set a smaller depth."
            )
        self.encoder = Lensed(encoder, width=width, depth=depth)
        self.penalty, self.least_likely, self.lens_lr = penalty, least_likely, lens_lr

    def optimizers(self) -> dict[str, Turn]:
        """Return the turns: the network solves the task, then the lens makes it harder."""
        recipe = Recipe(optimizer="adam", lr=self.lens_lr, lr_scaling="none", schedule="constant")
        return {
            "task": Turn([self.encoder.backbone, self.classify]),
            "lens": Turn(self.encoder.change, loss="lens_loss", recipe=recipe),
        }

    def answer(self, pixels: Tensor) -> Tensor:
        """Return F: logits ``(4B, 4)`` of the turns."""
        return self.classify(pooled(self.encoder.backbone(pixels))).float()

    def loss(self, views: Turned) -> dict[str, Tensor]:
        images, turns = views
        # Passes of their own: batch norm takes the statistics of one kind of image at a time.
        lensed, clean = self.answer(self.encoder.lens(images)), self.answer(images)
        self.watch("turn_accuracy", (clean.argmax(1) == turns).float().mean())
        self.watch("lensed_turn_accuracy", (lensed.argmax(1) == turns).float().mean())
        return {"lensed": cross_entropy(lensed, turns), "clean": cross_entropy(clean, turns)}

    def lens_loss(self, views: Turned) -> dict[str, Tensor]:
        """Return what the lens minimises: the adversary's loss and the price of the change."""
        images, turns = views
        lensed = self.encoder.lens(images)
        logits = self.answer(lensed)
        change = mse_loss(lensed.float(), images)
        self.watch("change", change.sqrt())
        if self.least_likely:
            against = cross_entropy(logits, logits.argmin(1))
        else:
            against = -cross_entropy(logits, turns)
        return {"against": against, "change": self.penalty * change}
