"""The command line: ``sparsecore``, or ``python -m sparsecore``."""

import sys

__all__ = ["main"]

_PACKAGES = ("click", "rich")


def main() -> None:
    """Run the command line.

    Where the packages that draw it are not installed, say which and how to get them; exit code 1.
    """
    try:
        from sparsecore.cli.commands import commands
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        sys.exit(
            f"sparsecore: the command line needs {error.name}, which is not installed: "
            "pip install 'sparsecore[demo]' (without the demo's packages: 'sparsecore[cli]')"
        )
    commands(prog_name="sparsecore")
