"""Sparse training in memory and time against masked dense: ``python -m sparsecore.bench training``.

Each contender trains in a process of its own, so that its memory is its own.
"""
