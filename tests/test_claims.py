"""What README and docs say of measurements is what bench/results has.

A section that links to a result is a measured one: each number in its text and tables stands in a
claim, which is computed from the result and compared, or in a phrase of ``claims/given.py``, where
settings, sizes and the reports of others are. In every other section a number that is followed by a
unit of speed is an error. Every claim's results are linked to in its own section.
"""

import re
from itertools import chain

import pytest

from claims import (
    distributed_page,
    guide_pages,
    performance_page,
    pruning_tables,
    readme_limits,
    readme_networks,
    readme_products,
)
from claims.claim import Claim, TableClaim
from claims.documents import document, documents, numbers
from claims.given import GIVEN

CLAIMS: list[Claim | TableClaim] = [
    *readme_products.CLAIMS,
    *readme_networks.CLAIMS,
    *readme_limits.CLAIMS,
    *guide_pages.CLAIMS,
    *performance_page.CLAIMS,
    *pruning_tables.CLAIMS,
    *distributed_page.CLAIMS,
]
SPEED = re.compile(r"(?:x(?! \d)|times|% (?:faster|slower|less|smaller)|[mun]?s|GB/s|GFLOP/s)\b")


def name(claim: Claim | TableClaim) -> str:
    words = claim.text if isinstance(claim, Claim) else claim.heading
    return f"{claim.document}: {words[:50]}"


@pytest.mark.parametrize("claim", CLAIMS, ids=name)
def test_claim_is_what_the_results_have(claim: Claim | TableClaim) -> None:
    found = claim.find(document(claim.document))
    assert not found.differences, "; ".join(found.differences)
    unnamed = set(claim.sources) - found.section.results
    assert unnamed == set(), "results that the section does not link to"


def spans_of_claims(name: str) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return what claims cover of a document, by section and block."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    text = document(name)
    for claim in CLAIMS:
        if claim.document == name:
            place = claim.find(text)
            key = text.sections.index(place.section), place.block
            found.setdefault(key, []).append(place.span)
    return found


def spans_of_given(name: str, block: str) -> list[tuple[int, int]]:
    """Return where phrases of given numbers stand in a block."""
    phrases = map(re.escape, GIVEN.get(name, ()))
    return [match.span() for phrase in phrases for match in re.finditer(phrase, block)]


def uncovered(name: str) -> list[str]:
    """Return every number of a document that needs a claim and has none, with what is around it."""
    claimed = spans_of_claims(name)
    found = []
    for place, section in enumerate(document(name).sections):
        for number, block in enumerate(section.blocks):
            spans = [*claimed.get((place, number), ()), *spans_of_given(name, block)]
            for begin, end in numbers(block):
                speed = SPEED.match(block[end:].lstrip())
                inside = any(first <= begin and end <= last for first, last in spans)
                if (section.results or speed) and not inside:
                    found.append(f"{section.title}: {block[max(0, begin - 40) : end + 30]}")
    return found


@pytest.mark.parametrize("name", documents())
def test_every_measured_number_has_a_claim(name: str) -> None:
    assert uncovered(name) == []


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_every_given_phrase_is_still_there(name: str) -> None:
    text = "\n".join(chain.from_iterable(section.blocks for section in document(name).sections))
    assert [phrase for phrase in GIVEN[name] if phrase not in text] == []
