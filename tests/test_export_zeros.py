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
