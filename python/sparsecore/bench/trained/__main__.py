"""``python -m sparsecore.bench.trained`` fine-tunes (slow), and measures what that gave (fast)."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from sparsecore.bench import words
from sparsecore.bench.pinning import pin


def main(words_given: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    options = _parser().parse_args(words_given)
    pinned = pin(options.threads)
    if options.command == "finetune":
        _finetune(options)
        return
    from sparsecore.bench.comparison import WrongResult

    try:
        (_measure if options.command == "measure" else _allocate)(options, pinned=pinned)
    except WrongResult as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sparsecore.bench.trained", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("finetune", help="prune the trained network while it trains on")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the weights")
    train.add_argument("--sparsities", type=words.percent, nargs="+", default=[80.0, 90.0])
    measured = commands.add_parser("measure", help="convert it, compare it, time it")
    measured.add_argument("weights", type=Path, metavar="DIR", help="what finetune wrote")
    measured.add_argument("--output", type=Path, metavar="FILE", help="JSON, a table beside it")
    measured.add_argument("--batches", type=words.count, nargs="+", default=[1, 64])
    compared = commands.add_parser("allocate", help="compare allocations at equal latency")
    compared.add_argument("--output", type=Path, metavar="FILE", help="JSON, a table beside it")
    compared.add_argument("--batches", type=words.count, nargs="+", default=[1, 16])
    compared.add_argument("--epochs", type=words.count, default=1, help="of fine-tuning, each")
    compared.add_argument(
        "--budgets",
        type=words.percent,
        nargs="+",
        default=[70.0, 80.0, 90.0],
        help="the time of so many zeros in every layer",
    )
    for command in (train, measured, compared):
        command.add_argument("--threads", type=words.count, default=1)
        command.add_argument("--quick", action="store_true", help="1 epoch, few images, to try it")
    return parser


def _images(*, quick: bool) -> Any:
    from sparsecore.bench.models.weights import data_folder
    from sparsecore.bench.trained.images import from_cifar, from_digits

    file = data_folder() / "cifar10" / "cifar10_subset.npz"
    if not file.is_file() and not quick:
        sys.exit("SPARSECORE_DATA has no cifar10/cifar10_subset.npz: only --quick does without")
    images = from_cifar(file) if file.is_file() else from_digits()
    return images.first(256, 100) if quick else images


def _finetune(options: argparse.Namespace) -> None:
    import numpy as np
    import torch

    from sparsecore.bench.models import NETWORKS, load
    from sparsecore.bench.trained.finetune import Config, accuracy, finetune

    torch.set_num_threads(options.threads)
    images = _images(quick=options.quick)
    dense, weights = load(NETWORKS["resnet20"], seed=0)
    options.out.mkdir(parents=True, exist_ok=True)
    for percent in options.sparsities:
        config = Config(percent / 100, **({"epochs": 1} if options.quick else {}))
        model = finetune(dense, images, config, partial(print, file=sys.stderr, flush=True))
        right = accuracy(model, images.x_test, images.y_test)
        print(f"{percent:g} % zeros: {right:.1%} right")
        file = options.out / f"resnet20-{percent:g}.npz"
        np.savez(file, **{name: t.numpy() for name, t in model.state_dict().items()})
        about = {"weights": weights, "images": str(images), "torch": torch.__version__}
        text = json.dumps(asdict(config) | about, indent=1)
        file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def _measure(options: argparse.Namespace, *, pinned: bool) -> None:
    import torch

    import sparsecore as sc
    from sparsecore.bench.models import NETWORKS, load
    from sparsecore.bench.models.weights import trained
    from sparsecore.bench.trained import measure, table
    from sparsecore.timing import interleaved

    torch.set_num_threads(options.threads)
    sc.set_num_threads(options.threads)
    network = NETWORKS["resnet20"]
    files = sorted(options.weights.glob("resnet20-*.npz"))
    if not files:
        sys.exit(f"{options.weights} has no resnet20-*.npz: run finetune first")
    networks = {
        file.stem: (trained(network.build, file), json.loads(file.with_suffix(".json").read_text()))
        for file in files
    }
    least = 0.02 if options.quick else 1.0
    clock = partial(interleaved, min_runs=5 if options.quick else 31, min_seconds=least)
    document = measure.document(
        load(network, seed=0)[0],
        networks,
        _images(quick=options.quick),
        clock,
        chooser=clock if options.quick else None,
        batches=tuple(options.batches),
        protocol={"threads": options.threads, "pinned": pinned, **clock.keywords},
    )
    _write(options.output, document, table.markdown(document))


def _allocate(options: argparse.Namespace, *, pinned: bool) -> None:
    import torch

    import sparsecore as sc
    from sparsecore.bench.models import NETWORKS, load
    from sparsecore.bench.trained import allocate, allocate_table
    from sparsecore.timing import interleaved

    torch.set_num_threads(options.threads)
    sc.set_num_threads(options.threads)
    least = 0.02 if options.quick else 1.0
    clock = partial(interleaved, min_runs=5 if options.quick else 31, min_seconds=least)
    document = allocate.document(
        load(NETWORKS["resnet20"], seed=0)[0],
        _images(quick=options.quick),
        clock,
        chooser=clock if options.quick else None,
        batches=tuple(options.batches),
        budgets=tuple(percent / 100 for percent in options.budgets),
        epochs=options.epochs,
        protocol={"threads": options.threads, "pinned": pinned, **clock.keywords},
    )
    _write(options.output, document, allocate_table.markdown(document))


def _write(file: Path | None, document: dict[str, Any], text: str) -> None:
    """Print the table; write the document as JSON and the table beside it."""
    print(text)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
