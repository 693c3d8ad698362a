"""Self-Supervised Any-Point Tracking by Contrastive Random Walks (GMRW), arXiv:2409.16288."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vergence.core import BadInput, Method, Recipe
from vergence.data.video.batch import VideoBatch
from vergence.engine.distributed import over_mean
from vergence.losses.walk import arrival_nce, one_after_the_other
from vergence.methods.video.views import image_encoder
from vergence.nets.matcher import Matcher, displacement, smoothness
from vergence.nets.video_encoder import FrameEncoder, VideoEncoder
from vergence.views.clips import temporal_crop
from vergence.views.pixels.augment import Augment, View
from vergence.views.pixels.planar import from_view_to_view


@dataclass(frozen=True)
class There:
    """Two frames in one crop, and the first of them again in another crop: the way there and back."""

    first: View
    second: View
    again: View


class GMRW(Method):
    """Walk from every cell of a frame to another frame and back to the first, which is cropped anew.

    Where a cell is after that crop is known, so that who stays in place does not come home. A matcher whose
    cells look at both frames gives the chances of each step.

    Shrivastava, Owens 2024, arXiv:2409.16288. Differs from the paper: the encoder is any convolutional one
    (the paper's is GMFlow's, with instance norm, at stride 4), of which the last map counts; homes are the
    cells in which centres come to lie (the released code samples a grid of whole cells, corners aligned, and
    rounds). Two frames are drawn from a window. The schedule is the one for Kubric; the fine-tuning of that
    for Kinetics is left out.

    Args:
        encoder: An image encoder on frames (``FrameEncoder``); what is kept is a ``Matcher`` around it. Its
            last map counts: "resnet18" with the option output_stride=8 has 28 x 28 cells at 224 pixels.
        dim: Width of the matcher's cells.
        layers: Of the matcher.
        splits: Windows of its attention along each side.
        span: Least and largest share of a window over which its two frames are spread.
        scale: Least and largest share of a frame's area in a crop.
        ratio: Least and largest width over height of a crop.
        smooth: Weight of the flow's smoothness, at last.
        smooth_from: Step from which on that weight grows from 0.
        smooth_at: Step at which it is there.
    """

    recipe = Recipe(optimizer="adamw", lr=4e-5, weight_decay=1e-4, batch=16, epochs=25, encoder="resnet18")
    encoder: VideoEncoder

    def __init__(
        self,
        encoder: VideoEncoder,
        *,
        dim: int = 128,
        layers: int = 6,
        splits: int = 2,
        span: tuple[float, float] = (0.2, 1.0),
        scale: tuple[float, float] = (0.3, 1.0),
        ratio: tuple[float, float] = (0.7, 1.3),
        smooth: float = 200.0,
        smooth_from: int = 5_000,
        smooth_at: int = 15_000,
    ) -> None:
        if not 0 < span[0] <= span[1] <= 1:
            raise BadInput(f"span needs 0 < least <= largest <= 1, shares of a clip's time; got {span}.")
        if smooth < 0 or not 0 <= smooth_from < smooth_at:
            raise BadInput(
                "GMRW needs smooth of 0 or more, which grows from step smooth_from to a later smooth_at; "
                f"got {smooth}, {smooth_from} and {smooth_at}."
            )
        inner = image_encoder(encoder, "GMRW")
        matcher = inner if isinstance(inner, Matcher) else Matcher(inner, dim, layers=layers, splits=splits)
        around = FrameEncoder(matcher, frames=encoder.frames, read=encoder.read)
        around.spec = {
            "name": "frames", "frames": around.frames, "read": around.read, "encoder": matcher.spec
        }  # fmt: skip
        super().__init__(around)
        self.span = span
        self.smooth, self.smooth_from, self.smooth_at = smooth, smooth_from, smooth_at
        self.crop = Augment(
            encoder.size, scale=scale, ratio=ratio, flip=0.0, jitter_p=0.0, grey=0.0, blur=0.0, group=2
        )

    @property
    def matcher(self) -> Matcher:
        matcher = image_encoder(self.encoder, "GMRW")
        assert isinstance(matcher, Matcher)
        return matcher

    def views(self, batch: VideoBatch) -> There:
        b, length = batch.pixels.shape[:2]
        chosen = temporal_crop(b, length, 2, span=self.span, device=batch.pixels.device)
        frames = batch.take(chosen).images()
        out, back = self.crop(frames), self.crop(frames)
        return There(_every_other(out, 0), _every_other(out, 1), _every_other(back, 0))

    def loss(self, views: There) -> dict[str, Tensor]:
        seen = self.matcher(torch.cat([v.pixels for v in (views.first, views.second, views.again)]))
        assert seen.map is not None and seen.grid is not None
        first, second, again = seen.map.chunk(3)
        on, back = self.matcher.match(torch.cat([first, second]), torch.cat([second, again])).chunk(2)
        trip = one_after_the_other(on, back)
        home, shown = homes(views.first, views.again, seen.grid)
        self.watch("came home", ((trip.argmax(-1) == home) & shown).sum() / shown.sum().clamp_min(1))
        share = over_mean(shown.sum().float())  # other processes may see more or fewer cells come back
        terms = {"cycle": share * arrival_nce(trip, home, shown, floor=1e-7)}
        weight = self.smooth * min(
            1.0, max(0.0, (self.clock.step - self.smooth_from) / (self.smooth_at - self.smooth_from))
        )
        if weight:
            flow = displacement(torch.cat([on, back]), seen.grid)
            pixels = 2 * torch.cat([views.first.pixels, views.second.pixels]) - 1
            terms["smooth"] = weight * smoothness(flow, pixels)
        return terms


def homes(first: View, again: View, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return in which cell of ``again`` each cell of ``first`` comes to lie, and whether it does.

    Args:
        first: A crop of B pictures.
        again: Another crop of the same.
        grid: h and w.

    Returns:
        ``(B, N)`` int64 and bool; a centre beyond the edge is given the nearest cell.
    """
    h, w = grid
    size = first.pixels.shape[-1]
    row, column = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    at = torch.stack([column * size / w, row * size / h], -1).flatten(0, 1).to(first.matrix)  # (N, 2)
    with torch.autocast(at.device.type, enabled=False):  # cells are counted: bfloat16 would miscount them
        place = from_view_to_view(at, first.matrix, again.matrix)
    shown = ((place >= 0) & (place < size)).all(-1)
    x, y = (place * place.new_tensor([w / size, h / size])).floor().long().unbind(-1)
    return y.clamp(0, h - 1) * w + x.clamp(0, w - 1), shown


def _every_other(view: View, start: int) -> View:
    rows = slice(start, None, 2)
    return View(view.pixels[rows], view.box[rows], view.flip[rows], view.angle[rows], view.matrix[rows])
