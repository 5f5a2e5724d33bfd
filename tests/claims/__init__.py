"""What the documents say of measurements, and where in bench/results it comes from.

Each file but the first three lists the claims of some documents; ``tests/test_claims.py`` computes
them anew, compares them with the text, and looks for numbers that no claim covers.
"""
