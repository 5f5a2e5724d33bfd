"""The verdicts: what they are called, and in which order they are tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CODES", "FIXABLE", "MEANINGS", "Verdict"]

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "mask-in-forward": "a mask is still applied in each forward",
        "zeros-stored-dense": "zeros are stored dense, and no sparse kernel is called",
        "below-break-even": "too few zeros: a sparse kernel would take longer than the dense one",
        "wrong-axis": "the zeros are 2:4 along an axis that is not summed over",
        "shape": "the weight is too small, or a side is no multiple of what a kernel needs",
        "no-kernel": "the dtype or the operator has no sparse kernel",
        "breaks-fusion": "an operator that does more than one product reads the weight",
        "not-exchangeable": "something else in the model needs the dense weight",
        "convolutions-dominate": "most work is in convolutions that stay dense",
        "runs-sparse": "the layer is sparse already, and dense is not known to be faster",
        "no-zeros": "there are no zeros: nothing to gain until it is pruned",
        "looked-up": "rows are looked up, not multiplied: zeros save memory only",
        "unknown": "the file or the model alone does not tell",
    }
)
"""Every verdict and what it says. The order is that in which they are tested."""

CODES = tuple(MEANINGS)
FIXABLE = ("mask-in-forward", "zeros-stored-dense", "wrong-axis")
"""The verdicts that a change of the model or of the file does away with, without more pruning."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding.

    Attributes
    ----------
    code : str
        One of `CODES`.
    sentence : str
        What was found, with its number.
    advice : str
        What to do; empty where there is nothing to do.
    """

    code: str
    sentence: str
    advice: str = ""

    def __str__(self) -> str:
        """Return the sentence and the advice."""
        return f"{self.sentence}; to do: {self.advice}" if self.advice else self.sentence
