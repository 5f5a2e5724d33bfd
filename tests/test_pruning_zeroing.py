"""Zeros where a mask is False: in every dtype, whatever stood there and however it lies."""

import pytest

torch = pytest.importorskip("torch")

from sparsecore.pruning.zeroing import write_zeros  # noqa: E402

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2]


def bits(tensor: "torch.Tensor") -> list[int]:
    return tensor.contiguous().view(torch.uint8).flatten().tolist()


@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex64, torch.complex128], ids=str)
def test_kept_entries_keep_their_bits_and_others_are_zero(dtype: "torch.dtype") -> None:
    mask = torch.rand(7, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    values = torch.randn(7, 9, generator=torch.Generator().manual_seed(1)).to(dtype)
    before = values.clone()
    write_zeros([values], mask)
    expected = torch.stack(
        [
            old if keep else torch.zeros((), dtype=dtype)
            for old, keep in zip(before.flatten(), mask.flatten(), strict=True)
        ]
    )
    assert bits(values) == bits(expected)


def test_what_is_no_number_goes_and_zeros_are_positive() -> None:
    values = torch.tensor([float("nan"), float("inf"), -0.0, -2.0, float("nan")])
    write_zeros([values], torch.tensor([False, False, False, False, True]))
    assert bits(values[:4]) == bits(torch.zeros(4))
    assert values[4].isnan()


def test_tensors_of_several_widths_and_strides() -> None:
    mask = torch.tensor([[True, False, True], [False, False, True]])
    wide, turned, apart = torch.ones(2, 3).double(), torch.ones(3, 2).T, torch.ones(4, 6)[::2, ::2]
    write_zeros([wide, turned, apart], mask.T.contiguous().T)
    for tensor in (wide, turned, apart):
        assert torch.equal(tensor, mask.to(tensor))


def test_a_parameter_is_changed_without_a_gradient_and_autograd_notices() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    squares = weight.square().sum()
    write_zeros([weight], torch.tensor([True, False, True]))
    assert weight.tolist() == [1, 0, 1]
    assert weight.grad_fn is None
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward()


def test_one_element_at_several_places_is_refused() -> None:
    with pytest.raises(RuntimeError):
        write_zeros([torch.ones(1).expand(3)], torch.tensor([True, False, True]))
