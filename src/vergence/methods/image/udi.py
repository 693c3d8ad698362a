"""Unsqueeze [CLS] Bottleneck to Learn Rich Representations (UDI), arXiv:2407.17671."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, scaled_dot_product_attention

from vergence.core import BadInput, Clock, Recipe
from vergence.core.specs import name_of
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import follow_mean, over_mean
from vergence.losses import centred, dino, soft_cross_entropy
from vergence.methods.image.dino import DINO
from vergence.nets import Teacher
from vergence.nets.image_encoder import Images
from vergence.nets.vit import ViT
from vergence.views.pixels.augment import Augment, View, photo_sizes
from vergence.views.pixels.geometry import box_matrix, composed, random_boxes, resized_crop
from vergence.views.pixels.planar import from_view_to_view


@dataclass(frozen=True, slots=True)
class Sampled:
    """What one step looks at.

    Args:
        crops: Two global ones of every photo, then the local ones.
        own: ``(2B, K, 2)`` (x, y) in pixels, patches of the global crops that are asked for, crop by crop.
        there: ``(2B, M, 2)``, where samples lie in the global crops: the K of the other one first, then those
            of each local crop.
        inside: ``(2B, M)`` bool, whether that crop shows them at all.
    """

    crops: list[View]
    own: Tensor
    there: Tensor
    inside: Tensor


class LookAround(nn.Module):
    """Tokens at places of a picture, after they looked at all patches once: ``(B, K, D)``.

    A token at a place is the bilinear mix of the patches around it; it is the query and what is added.

    Args:
        dim: D.
        heads: Divides ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))
        self.query, self.key_value, self.proj = (
            nn.Linear(dim, width) for width in (dim, 2 * dim, dim)
        )  # fmt: skip
        for layer in (self.query, self.key_value, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, patches: Tensor, grid: tuple[int, int], xy: Tensor) -> Tensor:
        """Return the tokens of patches ``(B, N, D)`` at ``xy (B, K, 2)``, shares of the picture's sides."""
        x = self.before(patches)
        picked = mixed(x, grid, xy)
        q = self.query(picked).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(x).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.after(self.proj(seen) + picked)


PARTS = ("class", "second", "patches")


class UDI(DINO):
    """Say of a crop what a slow copy says of the whole, of its parts, and of both in one.

    DINO's class token is taught by the copy's class token, which is sure of one thing. A second one is taught
    by a mix of that with the mean of what the copy says at sampled places, and samples by its word there.

    Su and Ji 2024, arXiv:2407.17671. Differs from the paper: as ``DINO`` does, blur and solarisation too; the
    second class token is a register of the encoder, with no position of its own; crops that overlap too
    little are moved just as far as they must, and a sample lies where its patch's centre does, while the
    released code lays the outermost patches on a crop's border; each photo draws its own samples.

    Args:
        encoder: A vision transformer of this library; it gets a register if it has none.
        prototypes: K.
        hidden: Width of the head's hidden layers.
        bottleneck: Width in front of the prototypes.
        student_temperature: Above 0.
        teacher_temperature: At the start, and after its warm-up; both above 0.
        teacher_warmup: Epochs over which the one becomes the other, epoch by epoch.
        centre_momentum: Share of the three centres kept each step, in [0, 1].
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        n_local: Local crops a photo.
        local_size: Their side in pixels; None takes the multiple of the patch nearest to 96/224 of the global
            side.
        global_scale: Share of a photo's area in the global crops.
        local_scale: Share of a photo's area in the local crops.
        freeze_prototypes: Epochs for which the prototypes keep their random start.
        alpha: Share of the samples' mean in what teaches the second class token, in [0, 1].
        window: Patches a side of which one is sampled, of global and of local crops.
        parts: Terms that are minimised, of "class", "second" and "patches"; each has a third of the weight.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=300, weight_decay=(0.04, 0.1), warmup=10, min_lr=1e-5,
        clip=3.0, encoder="vit-small32",
    )  # fmt: skip
    encoder: ViT
    second_centre: Tensor
    patch_centre: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        prototypes: int = 65_536,
        hidden: int = 2048,
        bottleneck: int = 256,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        teacher_warmup: int = 30,
        centre_momentum: float = 0.9,
        momentum: float = 0.996,
        n_local: int = 10,
        local_size: int | None = None,
        global_scale: tuple[float, float] = (0.25, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.25),
        freeze_prototypes: int = 1,
        alpha: float = 0.5,
        window: tuple[int, int] = (3, 2),
        parts: tuple[str, ...] = PARTS,
    ) -> None:
        give_register(encoder)
        super().__init__(
            encoder,
            prototypes=prototypes,
            hidden=hidden,
            bottleneck=bottleneck,
            student_temperature=student_temperature,
            teacher_temperature=teacher_temperature,
            teacher_warmup=teacher_warmup,
            centre_momentum=centre_momentum,
            momentum=momentum,
            n_local=n_local,
            local_size=local_size,
            global_scale=global_scale,
            local_scale=local_scale,
            freeze_prototypes=freeze_prototypes,
        )
        if not 0 <= alpha <= 1 or min(window) < 1 or not parts or not {*parts} <= {*PARTS}:
            raise BadInput(
                "UDI needs alpha in [0, 1], windows of 1 or more, and one or more parts of 'class', 'second' "
                f"and 'patches'; got {alpha}, {window} and {parts}."
            )
        sides = [augment.size // self.encoder.patch for augment in self.crops.augments]
        if min(sides) < window[1] or sides[0] < window[0]:
            raise BadInput(
                f"UDI needs crops as large as its windows; got {min(sides)} patches a side and {window}."
            )
        self.look = LookAround(self.encoder.out_dim, self.encoder.heads)
        self.look_teacher = Teacher(self.look)
        self.register_buffer("second_centre", torch.zeros(prototypes))
        self.register_buffer("patch_centre", torch.zeros(prototypes))
        self.alpha, self.window, self.parts = alpha, window, parts

    def views(self, batch: ImageBatch) -> Sampled:  # type: ignore[override]
        first, second, *local = self.crops.augments
        sizes = photo_sizes(batch)
        box = random_boxes(sizes, scale=first.scale, ratio=first.ratio)
        crops = [cut(batch, box, first)]
        box = overlapping(random_boxes(sizes, scale=second.scale, ratio=second.ratio), box, sizes)
        crops.append(cut(batch, box, second))
        around = union(crops[0].box, crops[1].box)
        for augment in local:
            box = random_boxes(sizes, scale=augment.scale, ratio=augment.ratio)
            crops.append(cut(batch, overlapping(box, around, sizes), augment))

        patch, rows, device = self.encoder.patch, len(batch), box.device
        places = strata(rows, first.size // patch, self.window[0]).to(device)
        own = centres(places, first.size // patch, patch)  # the same patches of either crop
        parts = []
        for crop in crops[2:]:
            side = crop.pixels.shape[-1] // patch
            parts.append((crop, centres(strata(rows, side, self.window[1]).to(device), side, patch)))
        place = torch.cat(
            [
                torch.cat(
                    [
                        from_view_to_view(xy, crop.matrix, crops[q].matrix)
                        for crop, xy in [(crops[1 - q], own), *parts]
                    ],
                    1,
                )
                for q in range(2)
            ]
        )
        inside = ((place > 0) & (place < first.size)).all(2)
        return Sampled(crops, own.repeat(2, 1, 1), place, inside)

    def loss(self, views: Sampled) -> dict[str, Tensor]:  # type: ignore[override]
        self.head.frozen = self.clock.epoch < self.freeze_prototypes
        crops, k, b = views.crops, views.own.shape[1], len(views.own) // 2
        whole = torch.cat([crop.pixels for crop in crops[:2]])
        (classes, patches, grid), size = class_tokens(self.encoder, whole), whole.shape[-1]
        every = [classes]
        if len(crops) > 2:
            every.append(class_tokens(self.encoder, torch.cat([crop.pixels for crop in crops[2:]]))[0])
        said = self.head(torch.cat(every))  # (V B, 2, K)
        samples = self.head(self.look(patches, grid, views.own / size))  # (2B, k, K)

        meant, parts = self.teach(whole, views.there / size)
        pairs = [(v, q) for v in range(len(crops)) for q in range(2) if q != v]
        both = self.second_targets(views, meant, parts)  # (pairs, B, K)
        temperature, inside = self.sharpness(), views.inside.view(2, b, -1)
        by_crop = parts.view(2, b, *parts.shape[1:])
        own = inside[:, :, :k].flip(0)  # whether the other crop shows a crop's own samples
        targets = {
            "class": centred(meant, self.centre, temperature=temperature),
            "second": centred(both, self.second_centre, temperature=temperature),
            "patches": centred(by_crop[:, :, :k].flip(0), self.patch_centre, temperature=temperature),
        }
        for name in ("class", "second"):
            self.watch(f"{name}_entropy", torch.special.entr(targets[name]).sum(-1).mean())
        follow_mean(self.centre, meant, keep=self.centre_momentum)
        follow_mean(self.second_centre, both.flatten(0, 1), keep=self.centre_momentum)
        follow_mean(self.patch_centre, by_crop[inside], keep=self.centre_momentum)

        heat = self.student_temperature
        first, second = (list(said[:, i].split(b)) for i in range(2))
        costs = [
            soft_cross_entropy(second[v], target, temperature=heat)
            for (v, _), target in zip(pairs, targets["second"], strict=True)
        ]
        shown = own.sum().float()  # processes may have different numbers
        share = over_mean(shown)
        of_samples = soft_cross_entropy(
            samples.flatten(0, 1),
            targets["patches"].flatten(0, 2),
            temperature=heat,
            weights=own.flatten().float(),
        )
        terms = {
            "class": dino(first, targets["class"].chunk(2), temperature=heat),
            "second": torch.stack(costs).mean(),
            "patches": share * of_samples,
        }
        return {name: (name in self.parts) * cost / 3 for name, cost in terms.items()}

    @torch.no_grad()
    def teach(self, whole: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Return the teacher's scores of global crops ``(2B, K)`` and at places of theirs ``(2B, M, K)``."""
        encoder, head = self.teacher.network.children()
        classes, patches, grid = class_tokens(encoder, whole)  # type: ignore[arg-type]
        return head(classes[:, 0]), head(self.look_teacher(patches, grid, xy))

    def second_targets(self, views: Sampled, meant: Tensor, parts: Tensor) -> Tensor:
        """Return the scores that teach the second class token, ``(pairs, B, K)``: of crop v by crop q."""
        b, k = len(views.own) // 2, views.own.shape[1]
        local = (views.there.shape[1] - k) // max(1, len(views.crops) - 2)
        every = []
        for v in range(len(views.crops)):
            for q in range(2):
                if v == q:
                    continue
                at = slice(k) if v < 2 else slice(k + local * (v - 2), k + local * (v - 1))
                rows = slice(q * b, (q + 1) * b)
                seen = views.inside[rows, at, None].to(parts.dtype)  # (B, k, 1)
                mean = (parts[rows, at] * seen).sum(1) / seen.sum(1).clamp_min(1)
                every.append(self.alpha * mean + (1 - self.alpha) * meant[rows])
        return torch.stack(every)

    def step_end(self, clock: Clock) -> None:
        super().step_end(clock)
        self.look_teacher.follow(self.clock.cosine(self.momentum, 1.0))


def give_register(encoder: nn.Module) -> None:
    """Give a ViT of this library a register, if it has none, in place.

    Raises:
        BadInput: If it is none.
    """
    if not isinstance(encoder, ViT):
        raise BadInput(
            f"UDI needs a vision transformer of this library; got {name_of(encoder)}. "
            "Choose --encoder vit-small32."
        )
    if encoder.registers is None:
        encoder.registers = nn.Parameter(0.02 * torch.randn(1, 1, encoder.out_dim))
        encoder.num_prefix = 2
        if encoder.spec:  # what it is built from again
            encoder.spec["registers"] = 1


def class_tokens(encoder: ViT, images: Images) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Return both class tokens ``(B, 2, D)``, the patches before the last norm, and their grid.

    Args:
        encoder: With a register, the second class token.
        images: As it takes them.
    """
    x, rows, columns = encoder.start(images)
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x[:, :2]), x[:, encoder.num_prefix :], (rows, columns)


def mixed(tokens: Tensor, grid: tuple[int, int], xy: Tensor) -> Tensor:
    """Return the bilinear mixes ``(B, K, D)`` of tokens ``(B, N, D)`` at ``xy (B, K, 2)``.

    Args:
        tokens: Of cells of equal size that cover the picture.
        grid: Their rows and columns.
        xy: In shares of the picture's sides; beyond the outermost centres the nearest one counts.
    """
    cells = tokens.transpose(1, 2).unflatten(2, grid)
    place = (2 * xy - 1).to(cells.dtype)[:, None]
    out = grid_sample(cells, place, mode="bilinear", padding_mode="border", align_corners=False)
    return out[:, :, 0].transpose(1, 2)


def strata(rows: int, side: int, window: int) -> Tensor:
    """Draw a patch of every window of a square grid, ``(rows, (side // window)^2)`` int64.

    Windows that do not fill the grid are pushed to a random corner of it.
    """
    count = side // window
    corner = (side - count * window) * torch.randint(2, (rows, 2, 1, 1))
    within = torch.randint(window, (rows, 2, count, count))
    start = window * torch.arange(count)
    y = corner[:, 0] + within[:, 0] + start[:, None]
    x = corner[:, 1] + within[:, 1] + start
    return (y * side + x).flatten(1)


def centres(places: Tensor, side: int, patch: int) -> Tensor:
    """Return the centres ``(B, K, 2)`` (x, y) in pixels of patches ``(B, K)`` of a square grid."""
    return (torch.stack([places % side, places // side], 2) + 0.5) * patch


def overlapping(boxes: Tensor, reference: Tensor, sizes: Tensor) -> Tensor:
    """Return boxes moved, as far as they must, to share half of the smaller side with a reference, each way.

    Args:
        boxes: ``(B, 4)`` top, left, height, width within the photo.
        reference: ``(B, 4)`` likewise.
        sizes: ``(B, 2)`` height and width of the photos.
    """
    corner, side = boxes[:, :2], boxes[:, 2:]
    start, length = reference[:, :2], reference[:, 2:]
    shared = torch.minimum(side, length) / 2
    corner = corner.maximum(start + shared - side).minimum(start + length - shared)
    corner = corner.minimum(sizes - side).clamp_min(0)
    return torch.cat([corner, side], 1)


def union(one: Tensor, other: Tensor) -> Tensor:
    """Return the smallest boxes ``(B, 4)`` around two."""
    corner = torch.minimum(one[:, :2], other[:, :2])
    end = torch.maximum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:])
    return torch.cat([corner, end - corner], 1)


def cut(batch: ImageBatch, box: Tensor, augment: Augment) -> View:
    """Cut given boxes out of photos, mirror and recolour them as an ``Augment`` would."""
    flip = torch.rand(len(batch), device=box.device) < augment.flip
    pixels = resized_crop(batch.pixels, box, augment.size, flip=flip)
    plain = replace(augment, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    seen = plain(ImageBatch(pixels.clamp(0, 1), batch.index, batch.label))  # it may turn and shift them, too
    matrix = composed(box_matrix(box, augment.size, flip), seen.matrix)
    return View(seen.pixels, box, flip, seen.angle, matrix)
