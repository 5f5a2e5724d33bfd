"""Convolutions that hypothesis draws: geometries, shapes, dtypes and memory orders at once."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

import cases
import conv_cases
import sparsecore as sc
from conv_cases import ORDERS, Geometry


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@given(
    mix=st.sampled_from(cases.MIXES),
    kernel=pairs(1, 5),
    stride=pairs(1, 4),
    padding=pairs(0, 6),
    dilation=pairs(1, 3),
    groups=st.integers(1, 3),
    channels=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    images=st.integers(0, 4),
    extra=st.tuples(st.integers(0, 12), st.integers(0, 40)),
    density=st.sampled_from([0.02, 0.2, 0.5, 1.0]),
    order=st.sampled_from(sorted(ORDERS)),
    threads=st.integers(1, 4),
    target=st.sampled_from(sc.cpu.targets()),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolutions(
    mix, kernel, stride, padding, dilation, groups, channels, images, extra, density, order,
    threads, target, seed,
):  # fmt: skip
    rng = np.random.default_rng(seed)
    g = Geometry(kernel, stride, padding, dilation, groups)
    m, c = (groups * count for count in channels)
    if m == 0:  # of which there are no groups
        g = replace(g, groups=1)
    axes = zip(kernel, dilation, padding, extra, strict=True)
    size = [max(1, d * (k - 1) + 1 - 2 * p) + more for k, d, p, more in axes]
    W = cases.random_dense(rng, (m, c // g.groups * g.taps), density, mix.values)
    x = ORDERS[order](cases.numbers(rng, (images, c, *size), mix.x))
    before = sc.cpu.target()
    sc.cpu.set_target(target)
    try:
        conv_cases.check(W, x, g, mix, f"{mix}, {order}", threads=threads)
    finally:
        sc.cpu.set_target(before)
