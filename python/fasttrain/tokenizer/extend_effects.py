"""What an extension saves and changes, counted on the pretokens of texts; its promise, checked on every one of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.extend import Extension, expand
from fasttrain.tokenizer.tokenizer import Tokenizer

Words = tuple[TextColumn, npt.NDArray[np.int64]]
_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Of one text."""

    bytes: int
    old_tokens: int
    new_tokens: int
    pretokens: int
    changed_pretokens: int
    """Occurrences of pretokens that have other ids now."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the shares that people ask for."""
        saved = 1 - self.new_tokens / self.old_tokens if self.old_tokens else 0.0
        changed = self.changed_pretokens / self.pretokens if self.pretokens else 0.0
        return {**asdict(self), "saved": saved, "changed": changed}


def effect(old: Tokenizer, extension: Extension, words: Words) -> Effect:
    """Encode the pretokens of a text with both tokenizers.

    Raises: AssertionError: new ids are not their old pieces, which a defect of ours alone can bring about.
    """
    column, counts = words
    before, starts = old.encode_batch(column)
    after, ends = extension.tokenizer.encode_batch(column)
    assert expand(after, extension.pieces) == before.tolist(), (
        "extend: new ids must be the old pieces of every pretoken"
    )
    num_old, num_new = np.diff(starts), np.diff(ends)
    # New tokens have two pieces or more, so what has as many tokens as before has the same.
    return Effect(
        bytes=int(np.diff(column.offsets) @ counts),
        old_tokens=int(num_old @ counts),
        new_tokens=int(num_new @ counts),
        pretokens=int(counts.sum()),
        changed_pretokens=int(counts[num_old != num_new].sum()),
    )


def mined(old: Tokenizer, extension: Extension, words: Words) -> list[dict[str, Any]]:
    """The pretokens that the extension saves the most tokens on: text, occurrences, tokens before and after."""
    column, counts = words
    num_old = np.diff(old.encode_batch(column)[1])
    num_new = np.diff(extension.tokenizer.encode_batch(column)[1])
    saved = (num_old - num_new) * counts
    order = np.argsort(-saved, kind="stable")[:_SHOWN]
    return [
        {
            "text": column[w].decode("utf-8", "replace"),
            "occurrences": int(counts[w]),
            "old_tokens": int(num_old[w]),
            "new_tokens": int(num_new[w]),
            "saved": int(saved[w]),
        }
        for w in order.tolist()
        if saved[w] > 0
    ]


def total(effects: Mapping[str, Effect]) -> Effect:
    """The sum of several texts'."""
    return Effect(**{k: sum(getattr(e, k) for e in effects.values()) for k in Effect.__dataclass_fields__})
