"""The products as operators of torch, for where it must see them: compiled, exported, transformed.

`calls` is where the public functions come in, and `operators` registers what they call. A matrix is
named by its tensors (`structures` finds the validated structure behind them) or by its `handle`:
these are the `kinds`. `kernels` multiply, or say by `shapes` what a product would give; `recorded`
has the gradients, by formulas (`gradients`) that eager autograd shares.
"""
