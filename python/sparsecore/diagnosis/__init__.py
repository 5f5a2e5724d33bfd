"""Why a pruned model is not faster: facts of each layer, one verdict, and what to do.

`sparsecore.doctor` answers; its answer is a `Diagnosis`. Facts come from a live model
(`model_layers`) or a file (`file_layers`), times from constants that are measured on this machine
(`machine`, `estimate`) or from a measurement of the layers (`measuring`); `judge` concludes.
"""

from sparsecore.diagnosis.backends import Backend
from sparsecore.diagnosis.counting import Counts
from sparsecore.diagnosis.diagnosis import SCHEMA, Diagnosis, LayerDiagnosis, Summary
from sparsecore.diagnosis.estimate import Costs, Line, Times
from sparsecore.diagnosis.examine import doctor
from sparsecore.diagnosis.facts import Bytes, LayerFacts, LayerUse, Mask
from sparsecore.diagnosis.machine import Problem
from sparsecore.diagnosis.verdict import CODES, FIXABLE, MEANINGS, Verdict

__all__ = [
    "CODES",
    "FIXABLE",
    "MEANINGS",
    "SCHEMA",
    "Backend",
    "Bytes",
    "Costs",
    "Counts",
    "Diagnosis",
    "LayerDiagnosis",
    "LayerFacts",
    "LayerUse",
    "Line",
    "Mask",
    "Problem",
    "Summary",
    "Times",
    "Verdict",
    "doctor",
]
