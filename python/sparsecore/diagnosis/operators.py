"""What torch's operators do with a weight: found by the operator, never by the names of a model."""

from typing import Any

from torch import Tensor

__all__ = [
    "BATCHED",
    "CONVOLUTIONS",
    "LOOKUPS",
    "MATRIX_OPERANDS",
    "fills_zeros",
    "is_copy",
    "is_fused",
    "is_mask",
    "is_product_of_entries",
    "operator_name",
    "takes_packed_weights",
]

# Where the left and right matrix of a product are among the arguments.
MATRIX_OPERANDS = {
    "aten::mm": (0, 1),
    "aten::addmm": (1, 2),
    "aten::mv": (0, 1),
    "aten::addmv": (1, 2),
    "aten::bmm": (0, 1),
    "aten::baddbmm": (1, 2),
    "aten::linear": (0, 1),
    "aten::matmul": (0, 1),
    "aten::_int_mm": (0, 1),
    "aten::_scaled_mm": (0, 1),
    "aten::_sparse_mm": (0, 1),
    "aten::_sparse_addmm": (1, 2),
}
BATCHED = {"aten::bmm", "aten::baddbmm"}
CONVOLUTIONS = {"aten::convolution", "aten::_convolution"}
LOOKUPS = {
    "aten::embedding",
    "aten::_embedding_bag",
    "aten::_embedding_bag_forward_only",
    "aten::index",
    "aten::index_select",
    "aten::gather",
}
_FUSED = {
    "aten::_transformer_encoder_layer_fwd",
    "aten::_native_multi_head_attention",
    "aten::mkldnn_rnn_layer",
    "aten::_cudnn_rnn",
    "aten::miopen_rnn",
    "aten::_thnn_fused_lstm_cell",
    "aten::_thnn_fused_gru_cell",
    "aten::lstm",
    "aten::gru",
    "aten::_weight_int8pack_mm",
    "aten::_weight_int4pack_mm",
    "aten::_weight_int4pack_mm_for_cpu",
    "aten::_sparse_semi_structured_linear",
}
# Copies in another order or dtype: zeros stay where they were.
_COPIES = {"aten::clone", "aten::contiguous", "aten::_to_copy"}
_FILLS = {"aten::masked_fill", "aten::masked_fill_", "aten::where"}
_PRODUCTS = {"aten::mul", "aten::mul_"}


def operator_name(operator: Any) -> str:
    """Return the name of an operator of torch's, without its overload."""
    return str(operator._schema.name)


def is_fused(name: str) -> bool:
    """Whether an operator does more than one plain product with the weights that it takes."""
    return name in _FUSED or not name.startswith(("aten::", "prim::", "prims::"))


def takes_packed_weights(name: str) -> bool:
    """Whether an operator multiplies by weights that are no tensors, as torch's quantized ones."""
    is_foreign = not name.startswith(("aten::", "prim::", "prims::"))
    return is_foreign and any(word in name for word in ("::linear", "::conv"))


def is_product_of_entries(name: str) -> bool:
    """Whether an operator multiplies entry by entry."""
    return name in _PRODUCTS


def is_copy(name: str) -> bool:
    """Whether an operator copies a tensor as it is, but for its order or dtype."""
    return name in _COPIES


def fills_zeros(name: str) -> bool:
    """Whether an operator takes a mask that says which entries stay."""
    return name in _FILLS


def is_mask(tensor: Tensor, of: tuple[int, ...]) -> bool:
    """Whether a tensor is a mask of a weight of this shape: zeros, and else ones.

    Examples
    --------
    >>> import torch
    >>> is_mask(torch.tensor([[1.0, 0.0]]), (1, 2)), is_mask(torch.tensor([[0.5, 0.0]]), (1, 2))
    (True, False)
    """
    if tensor.is_meta or tensor.numel() < 2 or tensor.ndim != len(of):
        return False
    zeros = tensor == 0
    return bool(zeros.any() and (zeros | (tensor == 1)).all())
