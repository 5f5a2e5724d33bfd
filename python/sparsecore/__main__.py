"""``python -m sparsecore`` is the command ``sparsecore``."""

from sparsecore.cli import main

if __name__ == "__main__":
    main()
