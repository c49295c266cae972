"""Which terms of a list a tokenizer splits, and into what."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fasttrain.core.errors import ConfigError
from fasttrain.text.columns import from_texts
from fasttrain.tokenizer.judge import AnyTokenizer, encode_words
from fasttrain.tokenizer.tokenizer import Tokenizer

SHOWN = 50


def read_terms(path: Path) -> list[str]:
    """Terms of a UTF-8 file, one a line, each once; blank lines are passed over.

    Raises: ConfigError: no such file, no UTF-8, or no term in it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a list of terms ({error}); give UTF-8, one term a line") from None
    terms = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not terms:
        raise ConfigError(f"{path}: holds no term; give one a line")
    return terms


def fragmentation(tokenizer: AnyTokenizer, terms: Sequence[str], shown: int = SHOWN) -> dict[str, Any]:
    """How the terms are cut, each as it stands in running text: with one space before it.

    Returns: terms, single (share of one token), mean_pieces, and `worst`: the `shown` terms of the most pieces, of
    equals the shorter first, each with its pieces (part of a character shows as U+FFFD).
    """
    words = from_texts([f" {term}" for term in terms])
    ids, offsets = encode_words(tokenizer, tokenizer.normalized(words) if isinstance(tokenizer, Tokenizer) else words)
    tokens = tokenizer.vocabulary.tokens
    pieces = np.diff(offsets)
    size = np.array([len(term.encode()) for term in terms])
    order = np.lexsort((np.arange(len(terms)), size, -pieces))[:shown].tolist()
    return {
        "terms": len(terms),
        "single": float((pieces == 1).mean()),
        "mean_pieces": float(pieces.mean()),
        "worst": [
            {
                "term": terms[n],
                "tokens": int(pieces[n]),
                "pieces": [tokens[i].decode("utf-8", "replace") for i in ids[offsets[n] : offsets[n + 1]].tolist()],
            }
            for n in order
        ],
    }
