"""``python -m sparsecore.bench`` runs one comparison, pinned to its cores."""

import sys
from importlib.util import find_spec

from sparsecore.bench.arguments import Options, parse
from sparsecore.bench.pinning import pin


def main(options: Options) -> None:
    """Measure, or draw what was measured."""
    if (options.plot or options.command == "plot") and find_spec("matplotlib") is None:
        sys.exit("plots need matplotlib: install sparsecore[plots]")
    if options.command == "plot":
        from sparsecore.bench.plot import draw_file

        try:
            draw_file(options.document, options.output)
        except ValueError as error:
            sys.exit(str(error))
        return
    if (
        options.command in ("e2e", "training", "never-slower", "gpu", "gpu-24")
        and find_spec("torch") is None
    ):
        sys.exit(f"{options.command} needs torch: install sparsecore[bench]")
    pinned = pin(options.threads, options.target)
    # Only now: what this imports reads the number of threads when it is loaded.
    from sparsecore.bench.comparison import WrongResult
    from sparsecore.bench.run import run
    from sparsecore.text_table import printable

    try:
        run(options, pinned=pinned)
    except WrongResult as error:
        sys.exit(str(error))
    except (OSError, ValueError, ModuleNotFoundError) as error:
        if options.command != "file" and not isinstance(error, FileNotFoundError):
            raise
        print(printable(f"Error: {error}"), file=sys.stderr)
        sys.exit(2 if options.command == "file" else 1)


if __name__ == "__main__":
    main(parse())
