"""Learning rates over the iterations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from .recipes import recipe


class LearningRateSchedule(ABC):
    """Gives each iteration's rate as a share of the base rate."""

    @abstractmethod
    def factor(self, iteration: int) -> float:
        """For iteration 0, 1, ...: what the base rates are multiplied with."""

    def observe(self, loss: float) -> None:
        """Be told the loss of a validation."""
        return

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` takes to go on as before."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another left off."""
        return


class Poly(LearningRateSchedule):
    """``(1 - iteration / iterations) ** power``, never below ``minimum``, as Caffe's "poly"; after a linear warm-up.

    With a minimum m it is ``(1 - m) (1 - iteration / iterations) ** power + m``, as in mmsegmentation.
    """

    def __init__(self, iterations: int, power: float = 0.9, minimum: float = 0.0, warmup: int = 0) -> None:
        self.iterations, self.power, self.minimum, self.warmup = iterations, power, minimum, warmup

    def factor(self, iteration: int) -> float:
        left = max(0.0, 1 - iteration / self.iterations)
        decayed = (1 - self.minimum) * float(left**self.power) + self.minimum
        return decayed * min(1.0, (iteration + 1) / (self.warmup + 1))


class Plateau(LearningRateSchedule):
    """Divided by ``divisor`` each time more than ``patience`` validations in a row brought no smaller loss."""

    def __init__(self, patience: int, divisor: float, minimum: float = 0.0) -> None:
        self.patience, self.divisor, self.minimum = patience, divisor, minimum
        self.best, self.waited, self.current = float("inf"), 0, 1.0

    def factor(self, iteration: int) -> float:
        return self.current

    def observe(self, loss: float) -> None:
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.current, self.waited = max(self.current / self.divisor, self.minimum), 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "current": self.current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited, self.current = float(state["best"]), int(state["waited"]), float(state["current"])


def schedule_of(recipe: recipe.Recipe) -> LearningRateSchedule:
    """The schedule that a recipe names."""
    chosen, base = recipe.schedule, recipe.optimizer.lr
    if chosen.name == "constant":
        return Poly(1, 0.0, 1.0, chosen.warmup)  # always 1
    if chosen.name == "plateau":
        return Plateau(chosen.patience, chosen.divisor, chosen.min_lr / base)
    return Poly(recipe.train.iterations, chosen.power, chosen.min_lr / base, chosen.warmup)
