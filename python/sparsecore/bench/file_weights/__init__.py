"""The weights of a file, measured: dense, as CSR, and as 2:4 where they are."""
