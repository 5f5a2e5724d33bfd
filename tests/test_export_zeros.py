"""export/zeros.py: weights are found in a graph in any layout, and lost zeros are seen."""

import numpy as np
import pytest

from sparsecore.export.zeros import check_zeros


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(shape).astype(np.float32)
    W[rng.random(shape) < 0.5] = 0
    return W


def how(W: np.ndarray, **held: np.ndarray) -> str:
    (found,) = check_zeros({"w": W}, held, where="here")
    assert found.zeros == np.sum(W == 0)
    return found.how


def test_the_same_bits_as_they_are_or_transposed() -> None:
    W = weight(6, 4)
    assert how(W, w=W) == "bits"
    assert how(W, other=W, w=weight(6, 4, seed=1)) == "bits"
    assert how(W, val_0=np.ascontiguousarray(W.T)) == "bits"
    square = weight(5, 5)
    assert how(square, w=square.T) == "bits"
    W[0, 0] = np.nan
    assert how(W, w=W.copy()) == "bits"


def test_negative_zero_is_another_zero() -> None:
    W = weight(6, 4)
    assert how(W, w=np.where(W == 0, np.float32(-0.0), W)) == "zeros"
    assert how(W, w=-2 * W) == "zeros"


def test_rows_in_other_tensors() -> None:
    """As torch's attention has queries, keys and values in one weight, and ONNX in three."""
    W = weight(12, 4)
    q, k, v = (np.ascontiguousarray(part.T) for part in np.split(W, 3))
    assert how(W, q=q, k=k, v=v) == "rows"
    with pytest.raises(ArithmeticError, match="here: nothing there has the"):
        how(W, q=q, k=k)


def test_gates_in_another_order() -> None:
    """As ONNX has those of an LSTM, behind an axis for its directions."""
    W = weight(8, 4)
    i, f, c, o = np.split(W, 4)
    assert how(W, lstm=np.concatenate([i, o, f, c])[None]) == "rows"


def test_other_numbers_under_another_name() -> None:
    W = weight(8, 4, 3, 3)
    assert how(W, folded=W * 3) == "zeros"


def test_more_zeros_than_the_model_has_are_no_fault() -> None:
    W = weight(6, 4)
    assert how(W, w=np.zeros_like(W)) == "zeros"


@pytest.mark.parametrize("name", ["w", "other"])
def test_a_lost_zero_is_an_error(name: str) -> None:
    W = weight(6, 4)
    changed = W.copy()
    changed.flat[np.flatnonzero(W == 0)[0]] = 1e-38
    message = "here: 1 of .* zeros of w are not" if name == "w" else "nothing there has the"
    with pytest.raises(ArithmeticError, match=message):
        how(W, **{name: changed})


def test_a_weight_without_zeros_has_none_to_lose() -> None:
    assert check_zeros({"w": np.ones((2, 2))}, {}, where="here") == ()


def test_an_initializer_stands_for_one_weight() -> None:
    """Zeros that cover those of a weight are no proof: others may be an initial state's."""
    W, V = weight(6, 4), weight(6, 4, seed=1)
    for others in ({"state": np.zeros_like(W)}, {"v": np.zeros_like(W)}):
        with pytest.raises(ArithmeticError, match=r"here: nothing there has the .* zeros of w"):
            check_zeros({"w": W, "v": V}, {"v_": V, **others}, where="here")
    lost = np.where(W == 0, np.float32(1), W)
    with pytest.raises(ArithmeticError, match="zeros of w"):
        check_zeros({"w": W, "v": 2 * W}, {"lost": lost, "v": 2 * W}, where="here")
    with pytest.raises(ArithmeticError, match="zeros of w"):
        check_zeros({"w": W, "v": 2 * W}, {"lost": lost, "val_0": 2 * W}, where="here")
    nothing = np.zeros_like(W)
    assert how(nothing.astype("f8"), folded=nothing) == "zeros"


def test_of_several_that_may_be_it_the_most_alike_is_taken() -> None:
    """One weight's zeros may lie within another's: each has its own initializer."""
    W = weight(8, 8)
    V = np.where(weight(8, 8, seed=1) == 0, np.float32(0), W)
    assert 0 < np.count_nonzero(V) < np.count_nonzero(W)
    held = {"a": 2 * V, "b": 3 * W.T}
    found = check_zeros({"w": W, "v": V, "u": W}, held | {"c": 5 * W}, where="here")
    assert [one.how for one in found] == ["zeros"] * 3
    with pytest.raises(ArithmeticError, match="zeros of u"):
        check_zeros({"w": W, "v": V, "u": W}, held, where="here")
