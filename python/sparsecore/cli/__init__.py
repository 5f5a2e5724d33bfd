"""The command line: ``sparsecore``, or ``python -m sparsecore``."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; where click is not installed, say how to get it, exit code 1."""
    try:
        from sparsecore.cli.commands import commands
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(
            "sparsecore: the command line needs click, which is not installed: "
            "pip install 'sparsecore[demo]' (without the demo's packages: 'sparsecore[cli]')"
        )
    commands(prog_name="sparsecore")
