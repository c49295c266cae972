"""A vocabulary extended by the words of a domain: continued BPE training with every old id and merge kept.

What is promised, for every text: the new ids, each put back into its old pieces, are the old ids. So no text becomes
longer, and a text in which no new token applies is encoded as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttrain.core.errors import ConfigError
from fasttrain.formats.old_pieces import OldPieces
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer import byte_level, patterns
from fasttrain.tokenizer.bpe_train import WordCounter
from fasttrain.tokenizer.continue_bpe import Merge, continue_bpe
from fasttrain.tokenizer.health import unmerged
from fasttrain.tokenizer.tokenizer import Tokenizer
from fasttrain.tokenizer.vocabulary import Vocabulary, from_merges


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What came out."""

    tokenizer: Tokenizer
    merges: list[Merge]
    """In the order of learning; the ids of their results are the new tokens."""
    reused: list[int]
    """Of the new ids, those that were an old token's which no text could give."""
    reserved: int
    """Special tokens that fill the vocabulary up to the multiple."""
    pieces: OldPieces


def extend(
    tokenizer: Tokenizer,
    words: TextColumn,
    counts: npt.NDArray[np.int64],
    *,
    num_tokens: int,
    min_frequency: int = 2,
    pad_to_multiple: int = 64,
    prune: bool = True,
    max_spaces: int = 4,
) -> Extension:
    """Learn at least `num_tokens` new tokens, as many more as bring the vocabulary to the multiple.

    Args:
        words: unique pretokens of the domain's text, by the tokenizer's own pattern (`WordCounter.words`).
        counts: (W,) int64. How often each occurs.
        num_tokens: fewer come out when no more pairs are frequent enough; reserved tokens then fill the multiple.
        min_frequency: a pair that occurs less often does not merge.
        prune: give the ids of tokens that no text can give to new ones; their merges, which never apply, go.
        max_spaces: of a vocabulary with superwords: no new token holds more spaces (superbpe). Others are not bounded.
    Raises: ValueError: max_spaces below 1. ConfigError: nothing to learn from, a vocabulary with tiktoken's rank
            semantics, or one with a normaliser.
    """
    if max_spaces < 1:
        raise ValueError(f"tokenizer extend: max_spaces must be at least 1, got {max_spaces}")
    v = tokenizer.vocabulary
    if is_ranked(v):
        raise ConfigError(
            "tokenizer extend: this vocabulary has rank semantics (.tiktoken): any two neighbours that spell a token "
            "merge, so a new token would change how old text is cut; make a merge list of it with `tokenizer convert`"
        )
    if v.normalizer is not None:
        raise ConfigError(
            f"tokenizer extend: this vocabulary normalises text first ({v.normalizer['type']}), and what is counted is "
            "not; extend one without a normaliser"
        )
    if not len(words):
        raise ConfigError("tokenizer extend: there is no text to learn from; give --text or --terms with some")
    free = _free_ids(v) if prune else []
    size = len(v.tokens)
    target = -(-(size + max(0, num_tokens - len(free))) // pad_to_multiple) * pad_to_multiple
    merges = _learn(tokenizer, words, counts, [*free, *range(size, target)], min_frequency, max_spaces)
    return _assemble(tokenizer, merges, set(free), pad_to_multiple)


def is_ranked(v: Vocabulary) -> bool:
    """Whether merges rank by the id of their result (tiktoken) and not by a list of their own."""
    return not np.array_equal(v.ranks, np.arange(len(v.ranks), dtype=np.uint32))


def count_terms(terms: Sequence[str], counter: WordCounter, weight: int) -> None:
    """Count the pretokens of each term as it stands in running text, with a space before it, `weight` times."""
    one = WordCounter(counter.pattern)
    one.add(from_texts([f" {term}" for term in terms]))
    words, counts = one.words()
    counter.add_counted(words, counts * weight)


def expand(ids: npt.NDArray[np.uint32], pieces: OldPieces) -> list[int]:
    """The ids with every new one put back into its old pieces: the old tokenizer's ids of the same text."""
    return [k for i in ids.tolist() for k in pieces.pieces.get(i, (i,))]


def _free_ids(v: Vocabulary) -> list[int]:
    """Ids of ordinary tokens that no merges give, of any text. With ignore_merges a whole pretoken may be any token."""
    if v.ignore_merges:
        return []
    special = set(v.special.values())
    return sorted(unmerged(v, [i for i, t in enumerate(v.tokens) if len(t) > 1 and i not in special]))


def _learn(
    tokenizer: Tokenizer,
    words: TextColumn,
    counts: npt.NDArray[np.int64],
    new_ids: Sequence[int],
    min_frequency: int,
    max_spaces: int,
) -> list[Merge]:
    v = tokenizer.vocabulary
    ids, offsets = tokenizer.encode_batch(words)
    cut = np.flatnonzero(np.diff(offsets) > 1).tolist()
    at = offsets.tolist()
    flat = ids.tolist()
    # A special token's name is its own in tokenizer.json, whatever bytes its characters stand for.
    names = frozenset(byte_level.to_bytes(name) or b"" for name in v.special)
    return continue_bpe(
        [flat[at[w] : at[w + 1]] for w in cut],
        counts[cut].tolist(),
        tokens=v.tokens,
        new_ids=new_ids,
        min_frequency=min_frequency,
        whole_words=v.ignore_merges,
        taken=names,
        max_spaces=max_spaces if v.pattern in patterns.SUPERWORDS.values() else None,
    )


def _assemble(tokenizer: Tokenizer, merges: list[Merge], free: set[int], multiple: int) -> Extension:
    v = tokenizer.vocabulary
    tokens, special = list(v.tokens), dict(v.special)
    pieces: dict[int, list[int]] = {}
    tokens += [b""] * max(0, max((i for _, _, i in merges), default=-1) + 1 - len(tokens))
    for left, right, i in merges:
        tokens[i] = tokens[left] + tokens[right]
        pieces[i] = [*pieces.get(left, [left]), *pieces.get(right, [right])]
    reserved = -len(tokens) % multiple
    names = (f"<|reserved_{k}|>" for k in range(len(special) + reserved + 1))
    for _, name in zip(range(reserved), (n for n in names if n not in special)):
        special[name] = len(tokens)
        tokens.append(name.encode())
    reused = {i for _, _, i in merges} & free
    old_ids = v.id_of_rank[v.ranks]
    live = ~np.isin(np.column_stack([v.pairs, old_ids]), list(reused)).any(1)
    pairs = np.concatenate([v.pairs[live], np.array([m[:2] for m in merges], np.uint32).reshape(-1, 2)])
    ids = np.concatenate([old_ids[live], np.array([m[2] for m in merges], np.uint32)])
    merged = from_merges(
        tokens, special, pairs, ids, v.pattern, ignore_merges=v.ignore_merges, plain=v.plain, flags=v.flags
    )
    made = Tokenizer(merged)
    known = OldPieces(
        old_vocab_size=len(v.tokens),
        new_vocab_size=len(tokens),
        old_fingerprint=tokenizer.fingerprint,
        new_fingerprint=made.fingerprint,
        pieces=pieces,
    )
    return Extension(tokenizer=made, merges=merges, reused=sorted(reused), reserved=reserved, pieces=known)
