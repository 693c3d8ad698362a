"""Tiny methods for what the engine does beyond one optimizer, and moments at which a process kills itself."""

import os
import signal
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, softplus

from vectors import VectorEncoder
from vergence.core import Estimator, Method, Recipe, Stage, Turn
from vergence.engine import embed
from vergence.methods.graph.grace import GRACE
from vergence.nets import PrototypeHead, mlp

killed_at = None  # a moment, such as ("learner", 7)


def moment(*at):
    """Die by SIGKILL if this is the moment asked for."""
    if at == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)


class Contest(Method):
    """An adversarial autoencoder whose noise is chosen by an architecture parameter: three turns.

    A critic tells codes from normal draws, the learner reconstructs and fools it, and two ways to decode are
    weighed on held-out samples.
    """

    recipe = Recipe(
        optimizer="adamw",
        lr=1e-2,
        batch=16,
        epochs=3,
        weight_decay=(0.0, 0.1),
        warmup=1,
        clip=1.0,
        val_share=0.25,
    )
    own = Recipe(optimizer="adam", lr=3e-3, lr_scaling="none", schedule="constant")

    def __init__(self, encoder, *, noise=0.5, draw=torch.randn_like, seen=None):
        super().__init__(encoder)
        self.noise, self.draw, self.seen = noise, draw, seen
        self.decoders = nn.ModuleList(nn.Linear(encoder.out_dim, 8) for _ in range(2))
        self.critic = mlp(encoder.out_dim, 8, 1, norm=False)
        self.mix = nn.Parameter(torch.zeros(2))
        self.register_buffer("steps", torch.zeros(()))

    def optimizers(self):
        return {
            "mix": Turn(self.mix, loss="mix_loss", recipe=self.own, every=2, batches="val"),
            "critic": Turn(self.critic, loss="critic_loss", recipe=self.own),
            "learner": Turn([self.encoder, self.decoders]),
        }

    def views(self, batch):
        return batch.x + self.noise * torch.randn_like(batch.x), batch.x

    def enter(self, turn, views):
        moment(turn, self.clock.step)
        if self.seen is not None:
            trained = sorted(n for n, p in self.named_parameters() if p.requires_grad)
            stray = [n for n, p in self.named_parameters() if p.grad is not None]
            self.seen.append((turn, self.clock.step, views, trained, stray))

    def reconstruction(self, z, x):
        share = self.mix.softmax(0)
        return mse_loss(sum(w * decode(z) for w, decode in zip(share, self.decoders, strict=True)), x)

    def mix_loss(self, views):
        self.enter("mix", views)
        return {"reconstruct": self.reconstruction(self.encode(views[0]), views[1])}

    def critic_loss(self, views):
        self.enter("critic", views)
        z = self.encode(views[0])
        real, made = self.critic(self.draw(z.detach())), self.critic(z)
        return {
            "real": binary_cross_entropy_with_logits(real, torch.ones_like(real)),
            "made": binary_cross_entropy_with_logits(made, torch.zeros_like(made)),
        }

    def loss(self, views):
        self.enter("learner", views)
        z = self.encode(views[0])
        self.watch("spread", z.std())
        return {"reconstruct": self.reconstruction(z, views[1]), "fool": softplus(-self.critic(z)).mean()}

    def step_end(self, clock):
        self.steps += 1


def without_chance(method):
    """Leave out dropout, and Adam where it would blow up gradients that are 0 but for rounding."""
    method.encoder.net[3].p = 0.0
    method.recipe = replace(method.recipe, optimizer="sgd")
    return method


def contest(**options):
    torch.manual_seed(0)
    return Contest(VectorEncoder(), **options)


def contest_without_chance():
    return without_chance(contest(noise=0.0, draw=lambda z: (3 * z).sin()))


class Reclustered(Method):
    """Clusters anew before each epoch, into one cluster more, and learns to tell them with a new head."""

    recipe = Recipe(optimizer="adamw", lr=1e-2, batch=16, epochs=4, weight_decay=0.1)

    def __init__(self, encoder, *, kind="mlp", turns=False):
        super().__init__(encoder)
        self.kind, self.turns = kind, turns
        self.head, self.scale = self.make(2), nn.Linear(6, 6)
        self.register_buffer("assignments", torch.zeros(0))
        self.register_buffer("nearest", None)

    def make(self, clusters):
        makers = {
            "mlp": lambda: mlp(6, 8, clusters),
            "linear": lambda: nn.Linear(6, clusters),
            "prototypes": lambda: PrototypeHead(6, clusters, hidden=8, bottleneck=4),
        }
        return makers[self.kind]()

    def optimizers(self):
        own = Recipe(optimizer="adam", lr=3e-3, lr_scaling="none", schedule="constant")
        turns = {"head": Turn(self.head, recipe=own), "learner": Turn([self.encoder, self.scale])}
        return turns if self.turns else {}

    @torch.no_grad()
    def epoch_start(self, clock, loader):
        moment("before clustering", clock.epoch)
        self.eval()
        z = torch.cat([self.embed(batch) for batch in loader])
        centres = z[torch.randperm(len(z))[: 2 + clock.epoch]]
        distance = torch.cdist(z, centres)
        self.assignments = distance.argmin(1)
        self.nearest = distance.argsort(0)[: 1 + clock.epoch]
        self.replace("head", self.make(len(centres)))
        moment("after clustering", clock.epoch)

    def views(self, batch):
        return batch.x + 0.1 * batch.x.flip(1), batch.index

    def loss(self, views):
        moment("loss", self.clock.step)
        x, index = views
        scores = self.head(self.scale(self.encode(x)))
        assert scores.shape[1] == len(self.nearest[0]) == 2 + self.clock.epoch
        return {"tell": cross_entropy(scores, self.assignments[index])}


def reclustered(**options):
    torch.manual_seed(0)
    return Reclustered(VectorEncoder(), **options)


def reclustered_without_chance():
    return without_chance(reclustered(turns=True))


class Centres(Estimator):
    """Chooses nodes as centres, at random, by what an encoder says of them."""

    def __init__(self, *, encoder=None, count=3):
        self.given, self.count = encoder, count

    def fit(self, source, *, seed=0):
        moment("fitting")
        z = torch.from_numpy(embed(self.given, source).vectors)
        chosen = torch.from_numpy(np.random.default_rng(seed).permutation(len(z))[: self.count])
        self.centres_, self.encoder = z[chosen], self.given
        return self


class Nearest(Method):
    """Learns which centre is nearest by now."""

    recipe = Recipe(optimizer="adam", lr=1e-2, lr_scaling="none", batch=34, epochs=6, schedule="constant")

    def __init__(self, encoder, centres):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, len(centres))
        self.register_buffer("centres", centres)

    def views(self, graph):
        return graph

    def loss(self, graph):
        moment("nearest", self.clock.step)
        z = self.encode(graph)
        self.watch("centres", len(self.centres))
        return {"tell": cross_entropy(self.head(z), torch.cdist(z.detach(), self.centres).argmin(1))}


class ThreeStages(Method):
    """Contrasts first, chooses centres then, and learns them at last: GRACE, an estimator, a method."""

    recipe = Recipe(epochs=4, encoder="gcn")

    def __init__(self, encoder, *, count=3):
        super().__init__(encoder)
        self.count = count

    def stages(self, source):
        def nearest(before):
            moment("making")
            return Nearest(before["contrast"].encoder, before["centres"].centres_)

        return [
            Stage("contrast", lambda before: Contrast(self.encoder)),
            Stage("centres", lambda before: Centres(encoder=before["contrast"].encoder, count=self.count)),
            Stage("nearest", nearest),
        ]


class Contrast(GRACE):
    """A short GRACE whose averaged encoder is kept."""

    recipe = replace(GRACE.recipe, epochs=4, ema=0.5)

    def loss(self, views):
        moment("contrast", self.clock.step)
        return super().loss(views)
