"""Going back in training: what is kept of a step, and when each part of it comes back.

A training loop calls ``optimizer.step()`` and then ``scheduler.step()``. So the state after step k
is complete just before step k + 1: weights, buffers and the optimizer's state are taken after step
k, the learning rates and the scheduler before the next one. They come back at the same two places:
were the scheduler put back within ``optimizer.step()``, the call that follows would move it on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.pruning.rewind import Rewind
from sparsecore.pruning.schedules import Iterative, Schedule

__all__ = ["Rewinder", "check_rewind"]


class Rewinder:
    """Takes the state of one step of a training, and puts it back.

    Parameters
    ----------
    model, optimizer
    scheduler : learning-rate scheduler or None
    step : int
        Which; 0 is taken now.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, scheduler: Any, *, step: int
    ) -> None:
        self._model, self._optimizer, self._scheduler = model, optimizer, scheduler
        self.step = step
        self._tensors: dict[str, Any] | None = None
        self._rates: dict[str, Any] | None = None
        self._rates_are_due = False
        if step == 0:
            self._tensors, self._rates = self._take_tensors(), self._take_rates()

    @property
    def is_ready(self) -> bool:
        """Whether the step has been."""
        return self._tensors is not None

    def before_step(self, done: int) -> None:
        """Note that an optimizer step begins, after `done` of the present run."""
        if self._rates_are_due and self._rates is not None:
            self._put_rates(self._rates)
        elif self._rates is None and done == self.step:
            self._rates = self._take_rates()
        self._rates_are_due = False

    def after_step(self, done: int) -> None:
        """Note that a step was taken, and all that follows from it but the scheduler's."""
        if self._tensors is None and done == self.step:
            self._tensors = self._take_tensors()

    def rewind(self, *, within_step: bool) -> None:
        """Put the state back; within an optimizer's step learning rates wait for the next one."""
        assert self._tensors is not None
        if self._rates is None:  # the run ended with the step itself
            self._rates = self._take_rates()
        self._put_tensors(self._tensors)
        self._rates_are_due = within_step
        if not within_step:
            self._put_rates(self._rates)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of what was taken, and whether learning rates wait."""
        return copy.deepcopy(
            {"tensors": self._tensors, "rates": self._rates, "due": self._rates_are_due}
        )

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError unless it is a state of the same model."""
        lacks = {"tensors", "rates", "due"} - state.keys()
        tensors = state.get("tensors")
        found = None if tensors is None else set(tensors.get("model", ()))
        if lacks or (found is not None and found != set(_tensors(self._model))):
            msg = (
                "Pruner.load_state_dict: rewind is "
                f"{f'without {sorted(lacks)}' if lacks else f'of tensors {sorted(found or ())}'}, "
                f"expected what state_dict() gives for this model"
            )
            raise ValueError(msg)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        state = copy.deepcopy(dict(state))
        self._tensors, self._rates = state["tensors"], state["rates"]
        self._rates_are_due = state["due"]

    def _take_tensors(self) -> dict[str, Any]:
        model = {name: tensor.detach().clone() for name, tensor in _tensors(self._model).items()}
        return {"model": model, "optimizer": copy.deepcopy(self._optimizer.state_dict()["state"])}

    def _take_rates(self) -> dict[str, Any]:
        scheduler = None if self._scheduler is None else self._scheduler.state_dict()
        groups = self._optimizer.state_dict()["param_groups"]
        return copy.deepcopy({"groups": groups, "scheduler": scheduler})

    @torch.no_grad()
    def _put_tensors(self, tensors: Mapping[str, Any]) -> None:
        for name, tensor in _tensors(self._model).items():
            tensor.copy_(tensors["model"][name])
        groups = self._optimizer.state_dict()["param_groups"]
        state = copy.deepcopy(tensors["optimizer"])
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _put_rates(self, rates: Mapping[str, Any]) -> None:
        rates = copy.deepcopy(dict(rates))
        for group, saved in zip(self._optimizer.param_groups, rates["groups"], strict=True):
            group.update({name: value for name, value in saved.items() if name != "params"})
        if self._scheduler is not None:
            self._scheduler.load_state_dict(rates["scheduler"])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def check_rewind(
    rewind: Rewind | None, scheduler: Any, schedule: Schedule, optimizer: Optimizer
) -> None:
    """Raise TypeError or ValueError where going back has no meaning."""
    if rewind is None:
        if scheduler is not None:
            msg = "Pruner: scheduler is given without rewind=; it is only needed to go back"
            raise ValueError(msg)
        return
    if not isinstance(rewind, Rewind):
        msg = f"Pruner: rewind is {rewind!r}, a {type(rewind).__name__}, expected Rewind(step)"
        raise TypeError(msg)
    if not isinstance(schedule, Iterative):
        msg = f"Pruner: {rewind} goes back after each round, {schedule} has none; use Iterative"
        raise ValueError(msg)
    if schedule.every is not None and rewind.step >= schedule.every:
        msg = f"Pruner: {rewind} is not before the end of a round of {schedule}"
        raise ValueError(msg)
    if scheduler is not None and not hasattr(scheduler, "load_state_dict"):
        msg = f"Pruner: scheduler is a {type(scheduler).__name__}, expected one of torch.optim's"
        raise TypeError(msg)
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        msg = "Pruner: scheduler belongs to another optimizer, expected the one of the pruner"
        raise ValueError(msg)
