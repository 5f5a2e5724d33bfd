"""SparseGPT against the obvious loop in float64, which inverts anew after each column."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from sparsecore.pruning import NM, Unstructured, scores


def problem(rows: int, columns: int, *, tokens: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return a weight and the Hessian of inputs that have few causes in common, and noise."""
    rng = np.random.default_rng([rows, columns])
    causes = rng.standard_normal((columns, columns // 8 + 1))
    x = causes @ rng.standard_normal((causes.shape[1], tokens))
    x += 0.3 * rng.standard_normal(x.shape)
    return rng.standard_normal((rows, columns)), 2 * x @ x.T / tokens


def naive(
    weight: np.ndarray, hessian: np.ndarray, sparsity: float, block: int, groups: NM | None
) -> tuple[np.ndarray, np.ndarray]:
    """Columns left to right; those before j are fixed, so only H[j:, j:] is inverted."""
    W, (rows, columns) = weight.copy(), weight.shape
    H = hessian + 0.01 * np.diag(hessian).mean() * np.eye(columns)
    mask = np.ones(W.shape, bool)
    losses = np.array([np.linalg.inv(H[j:, j:])[0, 0] for j in range(columns)])
    for j in range(columns):
        if groups is None and j % block == 0:
            end = min(j + block, columns)
            pruned = round(sparsity * rows * end) - round(sparsity * rows * j)
            score = W[:, j:end] ** 2 / losses[j:end]
            order = np.argsort(score, axis=None)[:pruned]
            mask[:, j:end].flat[order] = False
        if groups is not None and j % groups.m == 0:
            end = min(j + groups.m, columns)
            for row in range(rows):
                score = W[row, j:end] ** 2 / losses[j:end]
                mask[row, j + np.argsort(score)[: max(end - j - groups.n, 0)]] = False
        inverse = np.linalg.inv(H[j:, j:])
        for row in range(rows):
            if not mask[row, j]:
                W[row, j:] -= W[row, j] / inverse[0, 0] * inverse[0]
    return mask, np.where(mask, W, 0)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("shape", "sparsity", "block", "groups"),
    [
        ((6, 20), 0.5, 20, None),
        ((7, 21), 0.63, 8, None),  # a tail, and counts that do not divide
        ((5, 16), 0.5, 8, NM(2, 4)),
        ((5, 14), 0.5, 128, NM(2, 4)),  # a tail group that keeps all it has
        ((4, 13), 2 / 3, 8, NM(1, 3)),  # blocks of 6
        ((1, 1), 0.5, 128, None),
    ],
)
def test_masks_and_weights_are_those_of_the_obvious_loop(kind, shape, sparsity, block, groups):
    weight, hessian = problem(*shape)
    width = block // groups.m * groups.m if groups else block
    mask, new = naive(weight, hessian, sparsity, width, groups)
    given = {"weights": weight, "hessians": hessian}
    if kind == "torch":
        torch = pytest.importorskip("torch")
        given = {name: torch.from_numpy(array) for name, array in given.items()}
    before = weight.copy(), hessian.copy()
    masks, news = scores.sparsegpt(
        {"fc": given["weights"]},
        hessians={"fc": given["hessians"]},
        sparsity=sparsity,
        pattern=groups or Unstructured(),
        block=block,
    )
    np.testing.assert_array_equal(np.asarray(masks["fc"]), mask)
    np.testing.assert_allclose(np.asarray(news["fc"]), new, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(weight, before[0])
    np.testing.assert_array_equal(hessian, before[1])


@pytest.mark.parametrize("sparsity", [0.0, 0.31, 0.5, 0.9])
def test_pruned_counts_are_exact_in_all_and_in_each_block(sparsity):
    weight, hessian = problem(9, 70)
    masks, new = scores.sparsegpt(
        {"a": weight}, hessians={"a": hessian}, sparsity=sparsity, block=32
    )
    assert (~masks["a"]).sum() == round(sparsity * weight.size)
    for end in (32, 64, 70):
        assert (~masks["a"][:, :end]).sum() == round(sparsity * 9 * end)
    assert not new["a"][~masks["a"]].any()
    if not sparsity:
        np.testing.assert_array_equal(new["a"], weight)


def test_the_layer_loses_less_than_without_updates_and_than_by_magnitude():
    weight, hessian = problem(16, 64)
    masks, new = scores.sparsegpt({"a": weight}, hessians={"a": hessian}, sparsity=0.5)

    def loss(other: np.ndarray) -> float:
        return float(np.trace((weight - other) @ hessian @ (weight - other).T))

    by_magnitude = np.where(abs(weight) >= np.median(abs(weight)), weight, 0)
    assert loss(new["a"]) < 0.7 * loss(np.where(masks["a"], weight, 0))
    assert loss(new["a"]) < 0.7 * loss(by_magnitude)


def test_inputs_that_are_always_zero_are_pruned_first_and_change_nothing_else():
    weight, hessian = problem(4, 10)
    wider = np.insert(weight, 3, 100.0, axis=1)
    padded = np.insert(np.insert(hessian, 3, 0.0, axis=0), 3, 0.0, axis=1)
    masks, new = scores.sparsegpt(
        {"dead": wider, "alive": weight}, hessians={"dead": padded, "alive": hessian}, sparsity=0.0
    )
    assert not new["dead"][:, 3].any()
    masks, new = scores.sparsegpt({"dead": wider}, hessians={"dead": padded}, sparsity=14 / 44)
    _, expected = scores.sparsegpt({"a": weight}, hessians={"a": hessian}, sparsity=10 / 40)
    assert not masks["dead"][:, 3].any()
    np.testing.assert_allclose(np.delete(new["dead"], 3, axis=1), expected["a"], rtol=1e-9)


def test_a_factor_of_the_hessian_has_no_influence_and_equal_scores_keep_the_lowest_index():
    masks, _ = scores.sparsegpt(
        {"a": np.ones((2, 4))}, hessians={"a": 8.0 * np.eye(4)}, sparsity=0.5
    )
    np.testing.assert_array_equal(masks["a"], [[True] * 4, [False] * 4])
    weight, hessian = problem(5, 12)
    one, other = (
        scores.sparsegpt({"a": weight}, hessians={"a": h}, sparsity=0.5)[1]["a"]
        for h in (hessian, 1024 * hessian)
    )
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_narrow_weights_come_back_narrow_and_float32_is_near_float64():
    weight, hessian = problem(8, 32)
    exact = scores.sparsegpt({"a": weight}, hessians={"a": hessian}, sparsity=0.5)[1]["a"]
    for dtype, unit in ((np.float32, 2.0**-24), (ml_dtypes.bfloat16, 2.0**-8)):
        _, new = scores.sparsegpt(
            {"a": weight.astype(dtype)}, hessians={"a": hessian.astype(np.float32)}, sparsity=0.5
        )
        assert new["a"].dtype == dtype
        # Rounding of the weights, carried through 32 columns by updates of about their size.
        error = abs(new["a"].astype(np.float64) - exact)
        assert np.median(error) < 32 * unit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": 1.0}, r"sparsegpt: sparsity is 1\.0"),
        ({"block": 0}, "block is 0"),
        ({"damping": -0.1}, r"damping is -0\.1"),
        ({"pattern": NM(1, 4)}, r"sparsity is 0\.5, but NM\(n=1, m=4\) has exactly 0\.75"),
        ({"hessians": {}}, "hessians has none for 'a'"),
        ({"hessians": {"a": np.eye(3)}}, r"shape \(3, 3\) as its Hessian"),
        ({"hessians": {"a": -np.eye(4)}}, "not positive definite in float64"),
        ({"hessians": {"a": np.full((4, 4), np.nan)}}, r"hessians\['a'\] has NaN"),
        ({"weights": {"a": np.full((2, 4), np.inf)}}, r"weights\['a'\] has NaN or infinity"),
    ],
)
def test_bad_requests_say_what_is_wrong(change, message):
    given = {"weights": {"a": np.ones((2, 4))}, "hessians": {"a": np.eye(4)}, "sparsity": 0.5}
    arguments = {**given, **change}
    with pytest.raises(ValueError, match=message):
        scores.sparsegpt(arguments.pop("weights"), **arguments)


def test_what_is_no_floating_point_is_a_type_error():
    with pytest.raises(TypeError, match=r"weights\['a'\] is ndarray int64"):
        scores.sparsegpt({"a": np.ones((2, 2), int)}, hessians={"a": np.eye(2)}, sparsity=0.5)
    with pytest.raises(TypeError, match="hessians is list"):
        scores.sparsegpt({"a": np.ones((2, 2))}, hessians=[np.eye(2)], sparsity=0.5)
