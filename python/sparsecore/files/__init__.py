"""File formats: each module reads and writes the parts of a matrix, as arrays by name."""
