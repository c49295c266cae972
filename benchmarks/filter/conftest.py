"""Text for the filters' benchmarks: English pages of about 2 KB with headings, lists, repeats and punctuation.

Zipf words from a fixed seed.
"""

import numpy as np
import pytest

from fasttrain.text import columns

WORDS = (
    "the be to of and that have with a in is it for as was on are by this from at which or an not but were his "
    "they one all had has their more when there some time new about would people first could also after than "
    "many two other these into made only such over our work between under world state system because before "
    "well through year most government number house point group hand part place case week company program "
    "question during "
)


def page(rng: np.random.Generator) -> str:
    """One page."""
    tail = ["".join(rng.choice(list("etaoinshrdlucmfwypvbgk"), rng.integers(3, 11))) for _ in range(120)]
    vocabulary = [*WORDS.split(), *tail]
    rank = np.arange(1, len(vocabulary) + 1)
    weights = 1 / rank / (1 / rank).sum()
    lines = []
    while sum(map(len, lines)) < rng.lognormal(8.2, 0.6):
        kind = rng.random()
        words = [vocabulary[i] for i in rng.choice(len(vocabulary), rng.integers(4, 60), p=weights)]
        text = " ".join(words).capitalize()
        if kind < 0.1:
            lines.append(text[:24])
        elif kind < 0.2:
            lines.append("- " + text)
        elif kind < 0.25 and lines:
            lines.append(lines[rng.integers(len(lines))])
        else:
            lines.append(text.replace(" which", ", which").replace(" because", ". Because") + ".")
    return "\n".join(lines)


@pytest.fixture(scope="session")
def pages() -> list[str]:
    """512 pages."""
    rng = np.random.default_rng(20261123)
    return [page(rng) for _ in range(512)]


@pytest.fixture(scope="session")
def column(pages: list[str]) -> columns.TextColumn:
    """The pages as the ops take them."""
    return columns.from_texts(pages)
