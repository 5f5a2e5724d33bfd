"""Numbers in sections with measurements that are none: settings, sizes, what others report."""

from collections.abc import Mapping, Sequence

__all__ = ["GIVEN"]

# By document: phrases that hold such numbers, as the text has them in one line.
GIVEN: Mapping[str, Sequence[str]] = {
    "README.md": (
        "float32, 1024 x 1024, one core of an EPYC with AVX-512 (Zen 5)",
        "Other dtypes, 1024 x 1024",
        "Below 1 the dense engine is faster",
        "fine-tuned on 4000 images, on 1000 test images",
        "rows have 40 or 64 entries",
    ),
    "docs/doctor.md": (
        "They tell 2x from 0.5x, not 1.1x from 0.9x",
        "differ by less than 1.2x",
        "differ by more than 1.2x",
    ),
    "docs/guide/access.md": ("For 1024 x 1024, one core",),
    "docs/guide/matmul.md": ("float32, 1024 x 1024, one core, 32 columns",),
    "docs/distributed.md": (
        "|agreement of a product|P - 1 (ring)|32 (P - 1)|",
        "|blocks of an (m, k) product|1: all are sent at once|",
        "|agreement of a selection, and its ties|2 (P - 1)|(40 + 8 layers) (P - 1)|",
        "|sizes of the layers|2 (P - 1) (ring all-reduce)|about 16 layers|",
        "|a pass of a selection|2 (P - 1)|about 2 * 2048|",
        "|gathering n float32 scores instead|P - 1|4 n (P - 1) / P|",
        "with 10^9 scores it would also need 4 GB on every rank",
        "measures 1 to 4 ranks as processes of one machine",
        "On a machine of two cores, 3 and 4 ranks share cores",
    ),
    "docs/pruning/published-tables.md": (
        "MNIST's 10,000 test pictures",
        "Frankle et al. (2021)",
        "and the others at 98 %",
        "the second 0.9 of it",
        "At 99 % Evci et al. (2020) report 1.44 as RigL's best and 1.48 at the end, with 408-100-"
        "69 units alive",
        "on 1,000 pictures of CIFAR-10",
        "after three epochs on 4,000 pictures",
        "the order of Tanaka et al. (2020)",
    ),
}
