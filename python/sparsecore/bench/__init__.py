"""The comparisons with other libraries: ``python -m sparsecore.bench spmm``.

bench/README.md of the source tree says how and why.
"""
