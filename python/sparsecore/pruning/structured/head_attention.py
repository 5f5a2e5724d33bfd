"""Attention with fewer heads than its width has room for."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["HeadAttention"]


class HeadAttention(nn.Module):
    """What `prune_heads_` leaves of an ``nn.MultiheadAttention``, which it is called like.

    torch's own cannot have heads whose widths do not add up to the model's. The parameters have the
    names of torch's, and fewer rows (in_proj) and columns (out_proj).

    Parameters
    ----------
    source : torch.nn.MultiheadAttention
        With one width of queries, keys and values, and neither ``add_bias_kv`` nor
        ``add_zero_attn``.
    heads : sequence of int
        The heads that are taken over.

    Attributes
    ----------
    embed_dim, num_heads, head_dim : int
        ``num_heads * head_dim`` may be less than ``embed_dim``.

    Examples
    --------
    >>> import torch
    >>> layer = HeadAttention(torch.nn.MultiheadAttention(8, 4, batch_first=True), [0, 3])
    >>> x = torch.rand(2, 5, 8)
    >>> output, weights = layer(x, x, x)
    >>> layer.out_proj.in_features, output.shape, weights.shape
    (4, torch.Size([2, 5, 8]), torch.Size([2, 5, 5]))
    """

    # torch's encoder layers ask for it, and leave the attention to forward where it is False.
    _qkv_same_embed_dim = False

    def __init__(self, source: nn.MultiheadAttention, heads: list[int]) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = source.embed_dim, len(heads)
        self.head_dim = source.embed_dim // source.num_heads
        self.dropout, self.batch_first = source.dropout, source.batch_first
        rows = torch.arange(source.embed_dim).view(source.num_heads, -1)[heads].flatten()
        rows = rows.to(source.in_proj_weight.device)
        in_rows = torch.cat([rows + part * source.embed_dim for part in range(3)])
        self.in_proj_weight = _taken(source.in_proj_weight, in_rows, 0)
        bias = source.in_proj_bias
        self.in_proj_bias = None if bias is None else _taken(bias, in_rows, 0)
        out = source.out_proj
        self.out_proj = nn.Linear(len(rows), self.embed_dim, bias=False, device="meta")
        self.out_proj.weight = _taken(out.weight, rows, 1)
        self.out_proj.bias = out.bias
        self.train(source.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, with the arguments and results of ``nn.MultiheadAttention``.

        Raises
        ------
        ValueError
            A mask with a part for each head is not of as many as there are left; `is_causal`, a
            hint, without the mask.
        """
        if is_causal and attn_mask is None:
            msg = "HeadAttention: is_causal is True, expected attn_mask with it"
            raise ValueError(msg)
        batched = query.ndim == 3
        q, k, v = (self._split(x, part, batched) for part, x in enumerate((query, key, value)))
        if key_padding_mask is not None and not batched:
            key_padding_mask = key_padding_mask[None]
        mask = self._mask(attn_mask, key_padding_mask, q)
        dropout = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            weights = F.dropout(weights, dropout)
            mixed = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        output = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not batched:
            return output[0], None if weights is None else weights[0]
        return output if self.batch_first else output.transpose(0, 1), weights

    def _split(self, x: Tensor, part: int, batched: bool) -> Tensor:
        """Project, and bring to (n, heads, tokens, head_dim)."""
        x = x if self.batch_first and batched else x.transpose(0, 1) if batched else x[None]
        bias = None if self.in_proj_bias is None else self.in_proj_bias.chunk(3)[part]
        projected = F.linear(x, self.in_proj_weight.chunk(3)[part], bias)
        return projected.view(*projected.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(self, attn: Tensor | None, padding: Tensor | None, query: Tensor) -> Tensor | None:
        """Return what is added to the scores, broadcast to (n, heads, queries, keys)."""
        found = None
        if attn is not None:
            if attn.ndim == 3:
                if len(attn) != len(query) * self.num_heads:
                    msg = (
                        f"HeadAttention: attn_mask has {len(attn)} parts, expected one for all, or "
                        f"{len(query)} x {self.num_heads}, the heads that are left"
                    )
                    raise ValueError(msg)
                attn = attn.view(len(query), self.num_heads, *attn.shape[1:])
            found = _added(attn, query.dtype)
        if padding is not None:
            part = _added(padding, query.dtype)[:, None, None]
            found = part if found is None else found + part
        return found


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)


def _taken(parameter: Tensor, index: Tensor, axis: int) -> nn.Parameter:
    values = parameter.detach().index_select(axis, index)
    return nn.Parameter(values, requires_grad=parameter.requires_grad)
