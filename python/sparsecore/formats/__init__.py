"""Sparse matrices: COO to build and edit, CSR and 2:4 to multiply with."""

from sparsecore.formats.coo import COO
from sparsecore.formats.csr import CSR
from sparsecore.formats.sparse24 import Sparse24
from sparsecore.formats.storage import Storage
from sparsecore.formats.transposed import TransposedCSR

__all__ = ["COO", "CSR", "Sparse24", "Storage", "TransposedCSR"]
