"""The score of an attention head."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sparsecore.pruning._arrays import checked_scores
from sparsecore.pruning.model_masks import Score
from sparsecore.pruning.structured.filter_scores import scores_of

__all__ = ["head_scores"]


def head_scores(
    caller: str, layers: Mapping[str, nn.MultiheadAttention], score: Score
) -> dict[str, Tensor]:
    """Sum the scores of each head's rows of the projections and columns of the output, in float64.

    Returns
    -------
    dict of str to float64 tensor (heads,)
        By the names of the layers.

    Raises
    ------
    ValueError
        A score is missing, NaN, or of another shape than its weight.
    TypeError
        `score` is no function, or gives no mapping.
    """
    weights = {
        f"{name}.{part}": layer.get_parameter(part)
        for name, layer in layers.items()
        for part in ("in_proj_weight", "out_proj.weight")
    }
    scores = scores_of(caller, score, weights)
    for name, weight in weights.items():
        shape = tuple(scores[name].shape) if name in scores else None
        if shape != tuple(weight.shape):
            msg = (
                f"{caller}: score: {name} got scores of shape {shape}, expected "
                f"{tuple(weight.shape)}"
            )
            raise ValueError(msg)
    found = {}
    for name, layer in layers.items():
        rows, columns = (
            checked_scores(scores[full], name=f"{caller}: score of {full}", origin=weights[full])
            for part in ("in_proj_weight", "out_proj.weight")
            for full in [f"{name}.{part}"]
        )
        of_rows = rows.double().sum(1).view(3, layer.num_heads, -1).sum((0, 2))
        found[name] = of_rows + columns.double().sum(0).view(layer.num_heads, -1).sum(1)
    return found
