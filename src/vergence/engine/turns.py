"""Optimizer steps: one optimizer over everything, or several that take turns within a step."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock, Method, Recipe, Turn
from vergence.engine.means import Means
from vergence.engine.optim import optimizer, set_rates

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class BatchHolder:
    """Carries a batch past Fabric, which would take dataclasses apart and convert what is in them.

    Args:
        batch: On the device.
        keep_views: Make its views once, for all turns that take it.
    """

    __slots__ = ("batch", "keep_views", "views")

    def __init__(self, batch: Any, *, keep_views: bool = False) -> None:
        self.batch, self.keep_views, self.views = batch, keep_views, None


class Objective(nn.Module):
    """Views and loss in one forward call, so that the data-parallel wrapper sees all of it."""

    def __init__(self, method: Method, device: torch.device, loss: str = "loss") -> None:
        super().__init__()
        self.method, self.device, self.loss = method, device, loss

    def forward(self, held: BatchHolder | Callable[[], None]) -> dict[str, Tensor]:
        if not isinstance(held, BatchHolder):
            held()  # with the networks in one piece, should they be divided among processes
            return {}
        if (views := held.views) is None:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                views = self.method.views(held.batch)  # type: ignore[operator]
            held.views = views if held.keep_views else None
        return checked_terms(getattr(self.method, self.loss)(views), self.method, self.loss)


def checked_terms(terms: Any, method: Method, loss: str = "loss") -> dict[str, Tensor]:
    """Return what a method's ``loss`` gave.

    Raises:
        BadInput: If it is not named scalars.
    """
    name = f"{type(method).__name__}.{loss}"
    if not isinstance(terms, dict) or not terms:
        what = "no terms" if isinstance(terms, dict) else f"a {type(terms).__name__}"
        raise BadInput(f'{name} returns {what}; it returns named terms to minimise, {{"name": scalar}}.')
    for term, value in terms.items():
        if not isinstance(value, Tensor) or value.ndim:
            what = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise BadInput(f"{name} returns '{term}' as {what}; each term is a scalar tensor.")
    return terms


class RunningTurn:
    """One optimizer with the parameters that it moves and the loss that it minimises.

    Args:
        method: All of it is used in the forward pass.
        turn: As the method says it.
        recipe: Of this turn.
        name: Goes before the names of its terms; "" for the only one.
        others: Parameters of other turns; they are frozen during this one.
    """

    def __init__(
        self, method: Method, turn: Turn, recipe: Recipe, name: str, others: list[nn.Parameter]
    ) -> None:
        self.method, self.turn, self.recipe, self.name, self.others = method, turn, recipe, name, others
        self.lr = 0.0

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Freeze the parameters of the other turns."""
        frozen = [p for p in self.others if p.requires_grad]
        for p in frozen:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in frozen:
                p.requires_grad_(True)

    def build(self) -> torch.optim.Optimizer:
        """Make the optimizer, with nothing remembered."""
        mine = {id(p) for p in self.turn.parameters()}
        self.optimizer = optimizer(self.method, self.recipe, of=lambda p: id(p) in mine)
        return self.optimizer

    def parameters(self) -> list[nn.Parameter]:
        """Return what the optimizer moves."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def wrap(self, fabric: Fabric) -> None:
        """Let Fabric set up networks and optimizer; several processes then share this turn's gradients."""
        self.fabric = fabric
        with self.alone():
            objective = Objective(self.method, fabric.device, self.turn.loss)
            self.forward, self.update = fabric.setup(objective, self.optimizer)

    def accept(self, fabric: Fabric, forward: Any, update: Any) -> None:
        """Take what Fabric has set up already, as it does for networks divided among processes."""
        self.fabric, self.forward, self.update = fabric, forward, update

    def take(
        self, clock: Clock, batches: Iterable[BatchHolder], batch_size: int, count: int, means: Means
    ) -> bool:
        """Take one optimizer step on ``count`` accumulated batches; say whether there were as many."""
        self.lr = set_rates(self.optimizer, self.recipe, clock, batch_size)
        part = 0
        for part, held in enumerate(batches, 1):
            with self.fabric.no_backward_sync(self.forward, enabled=part < count):
                terms = self.forward(held)
                loss = torch.stack(list(terms.values())).sum()
                self.fabric.backward(loss / count)
            named = {"loss": loss, **terms}
            if self.name:
                named = {f"{self.name}/{term}": value for term, value in named.items()}
            means.add({**named, **self.method.pop_logged()}, 1 / count)
        if part < count:
            self.optimizer.zero_grad(set_to_none=True)
            return False
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(
                self.forward, self.update, max_norm=self.recipe.clip, error_if_nonfinite=False
            )
        self.update.step()
        self.optimizer.zero_grad(set_to_none=True)
        return True


class Turns:
    """The turns of a method, in the order in which a step takes them; one of all, unless it says others.

    Args:
        method: On its device, as it will be trained.
        recipe: Of the run, and of every turn that says none.
        batch_size: Samples an optimizer step over all processes.
        accumulate: Batches a step and process.
        means: Where losses are added up.

    Raises:
        BadInput: If the turns do not fit the method.
    """

    def __init__(
        self, method: Method, recipe: Recipe, *, batch_size: int, accumulate: int, means: Means
    ) -> None:
        self.method, self.batch_size, self.accumulate, self.means = method, batch_size, accumulate, means
        turns = method.optimizers()
        trained = {name: [p for p in turn.parameters() if p.requires_grad] for name, turn in turns.items()}
        self.running = [
            RunningTurn(
                method, turn, turn.recipe or recipe, name,
                [p for other, parameters in trained.items() if other != name for p in parameters],
            )
            for name, turn in turns.items()
        ] or [RunningTurn(method, Turn(method), recipe, "", [])]  # fmt: skip
        if turns:
            _check(method, turns, recipe, trained)

    def __iter__(self) -> Iterator[RunningTurn]:
        return iter(self.running)

    @property
    def several(self) -> bool:
        return len(self.running) > 1

    @property
    def outdated(self) -> bool:
        """Whether an optimizer holds a parameter that the method no longer has."""
        present = {id(p) for p in self.method.parameters()}
        return any(id(p) not in present for turn in self for p in turn.parameters())

    def inherit(self, old: Turns) -> None:
        """Take over what the optimizers of the same names remember of parameters that are still there."""
        before = {turn.name: turn.optimizer.state for turn in old}
        for turn in self:
            for p in turn.parameters():
                if p in before.get(turn.name, {}):
                    turn.optimizer.state[p] = before[turn.name][p]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers by their names in a checkpoint."""
        return {f"optimizer {turn.name}".rstrip(): turn.optimizer for turn in self}

    def rates(self) -> dict[str, float]:
        """Return the learning rates of the last turns, by their names in a row of metrics."""
        return {f"{turn.name}/lr".lstrip("/"): turn.lr for turn in self}

    def losses(self, *, every: int | None = None) -> list[str]:
        """Return the names of the turns' losses in a row of metrics, or of those with this ``every``."""
        return [f"{turn.name}/loss".lstrip("/") for turn in self if every in (None, turn.turn.every)]

    def val_steps(self, step: int) -> int:
        """Return in how many of the first ``step`` steps held-out batches were taken."""
        periods = {turn.turn.every for turn in self if turn.turn.batches == "val"}
        if 1 in periods:
            return step
        return sum(any(number % every == 0 for every in periods) for number in range(step)) if periods else 0

    def take(self, clock: Clock, train: Iterator[Any], val: Iterator[Any] | None) -> bool:
        """Take the turns of one step; say whether there was data for it.

        Args:
            clock: Of the step.
            train: Batches of the epoch, on the device.
            val: Held-out batches without end.
        """
        parts = itertools.islice(train, self.accumulate)
        if not self.several:
            return self._take(self.running[0], clock, map(BatchHolder, parts))
        held = {"train": [BatchHolder(batch, keep_views=True) for batch in parts]}
        if len(held["train"]) < self.accumulate:
            return False
        for turn in self:
            if clock.step % turn.turn.every:
                continue
            if turn.turn.batches not in held:
                parts = itertools.islice(val or (), self.accumulate)
                held["val"] = [BatchHolder(batch, keep_views=True) for batch in parts]
            with turn.alone():
                self._take(turn, clock, held[turn.turn.batches])
        return True

    def _take(self, turn: RunningTurn, clock: Clock, batches: Iterable[BatchHolder]) -> bool:
        return turn.take(clock, batches, self.batch_size, self.accumulate, self.means)


def _check(
    method: Method, turns: dict[str, Turn], recipe: Recipe, trained: dict[str, list[nn.Parameter]]
) -> None:
    """Raise ``BadInput`` unless each trainable parameter has one turn and each turn what it asks for."""
    kind = type(method).__name__
    for name, turn in turns.items():
        if not callable(getattr(method, turn.loss, None)):
            raise BadInput(f"{kind}'s turn '{name}' minimises {turn.loss}, which {kind} lacks: define it.")
        if not trained[name]:
            raise BadInput(f"{kind}'s turn '{name}' has no parameters to train: give it some.")
        if turn.batches == "val" and not recipe.val_share:
            raise BadInput(
                f"{kind}'s turn '{name}' takes val batches, but nothing is held out: set Recipe.val_share."
            )
    if not any(turn.every == 1 and turn.batches == "train" for turn in turns.values()):
        raise BadInput(
            f"{kind} needs a turn in every step on train batches (every=1): steps are counted by it."
        )
    count = Counter(id(p) for parameters in trained.values() for p in parameters)
    for name, p in method.named_parameters():
        if p.requires_grad and count[id(p)] != 1:
            where = ", ".join(turn for turn, parameters in trained.items() if any(p is q for q in parameters))
            raise BadInput(
                f"{kind}'s parameter {name} is in {f'several turns ({where})' if where else 'no turn'}; "
                "Method.optimizers() must put each trained parameter into one."
            )
