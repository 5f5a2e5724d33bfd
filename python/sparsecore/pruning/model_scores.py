"""Scores that need a model and data, made functions of the weights alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.pruning.model_masks import Score

__all__ = ["bound_score"]


def bound_score(
    caller: str, score: Any, *, model: nn.Module, batches: Any, loss: Any, group: Any = None
) -> Score:
    """Return a score of the weights alone.

    Parameters
    ----------
    caller : str
        For messages.
    score : callable
        Called as ``score(weights)``, or where there are batches as
        ``score(weights, model=model, batches=batches)``, with ``loss=loss`` where there is one.
        With ``group=group``, too, where there is one and the score has such a keyword.
    model, batches, loss, group
        As `Pruner` has them.

    Raises
    ------
    ValueError
        The score needs a keyword that is not given, or does not take one that is.
    """
    if loss is not None and batches is None:
        msg = f"{caller}: loss is given without batches=, on which it would be computed"
        raise ValueError(msg)
    given: dict[str, Any] = {} if batches is None else {"model": model, "batches": batches}
    if loss is not None:
        given["loss"] = loss
    if group is not None and _takes_group(score):
        given["group"] = group
    _check_keywords(caller, score, given)
    if not given:
        scored: Score = score
        return scored

    def score_with_gradients(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        with torch.enable_grad():
            scores: Mapping[str, Tensor] = score(weights, **given)
        return scores

    return score_with_gradients


def _takes_group(score: Any) -> bool:
    try:
        return "group" in inspect.signature(score).parameters
    except (TypeError, ValueError):  # a builtin that does not say
        return False


def _check_keywords(caller: str, score: Any, given: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(score).parameters
    except (TypeError, ValueError):  # a builtin that does not say
        return
    by_name = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    # The first parameter gets the weights.
    keywords = [p for p in list(parameters.values())[1:] if p.kind in by_name]
    # What is left of a partial's keywords has the bound value for a default.
    missing = [p.name for p in keywords if p.default is p.empty and p.name not in given]
    if "batches" in missing and "model" in missing:
        missing.remove("model")  # comes with batches
    if missing:
        needs = " and ".join(f"{name}=" for name in missing)
        bind = "" if missing == ["batches"] else "; bind it with functools.partial"
        msg = f"{caller}: {_name(score)} needs {needs}{bind}"
        raise ValueError(msg)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [name for name in given if name not in parameters]
    if unknown and not takes_any:
        msg = f"{caller}: {_name(score)} takes no {' and no '.join(f'{n}=' for n in unknown)}"
        raise ValueError(msg)


def _name(score: Any) -> str:
    while isinstance(score, functools.partial):
        score = score.func
    return getattr(score, "__name__", type(score).__name__)
