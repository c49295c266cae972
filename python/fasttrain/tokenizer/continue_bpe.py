"""BPE learning that goes on where a vocabulary ends: words come cut into its tokens, new merges join those.

Because every old merge ranks before every new one, and a new token is in no old merge, encoding with the longer list is
encoding with the old one and then applying the new merges: what is counted here is what will be encoded.
Source: Purason et al. 2025, arXiv 2512.03989 (continued BPE training).
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

Pair = tuple[int, int]
Merge = tuple[int, int, int]
"""Left id, right id, id of both."""


def continue_bpe(
    words: Sequence[Sequence[int]],
    counts: Sequence[int],
    *,
    tokens: Sequence[bytes],
    new_ids: Iterable[int],
    min_frequency: int = 2,
    whole_words: bool = False,
    taken: frozenset[bytes] = frozenset(),
    max_spaces: int | None = None,
) -> list[Merge]:
    """Learn merges until `new_ids` are used up or no pair is frequent enough.

    The pair with the highest count merges first, of equals the one with the smallest (left id, right id). A pair whose
    bytes are a token already does not merge: the token has merges of its own, and with a second way to it an old merge
    could follow a new one, so that words would not be encoded as they were counted.

    Args:
        words: unique words as ids of `tokens`, of which at least two; counts: how often each occurs.
        tokens: bytes by id, of the vocabulary that is continued.
        new_ids: ids of the new tokens, in the order of learning.
        min_frequency: a pair that occurs less often does not merge; at least 1 is asked of every pair.
        whole_words: a word that is a token is that token whatever the merges say (ignore_merges): when a token comes to
            spell a word, that word is done.
        taken: further byte strings that no token may be made of.
        max_spaces: a pair that holds more spaces does not merge; None: no bound.
    Returns: merges in the order of learning.
    Cost: the words' pairs, then for each merge the words that hold it; about 1 us a pair.
    """
    spelled = dict(enumerate(tokens))
    known = {t for t in tokens if t} | taken
    symbols = [list(word) for word in words]
    places: dict[Pair, set[int]] = {}
    total: Counter[Pair] = Counter()
    for w, word in enumerate(symbols):
        for pair in pairwise(word):
            total[pair] += counts[w]
            places.setdefault(pair, set()).add(w)
    whole = {b"".join(spelled[i] for i in word): w for w, word in enumerate(symbols)} if whole_words else {}
    least = max(1, min_frequency)
    heap = [(-count, pair) for pair, count in total.items() if count >= least]
    heapq.heapify(heap)
    merges: list[Merge] = []
    for new in new_ids:
        while heap:
            count, pair = heapq.heappop(heap)
            if total[pair] != -count:
                if total[pair] >= least:  # a pair whose count rose was pushed when it did: only falls end up here
                    heapq.heappush(heap, (-total[pair], pair))
                continue
            token = spelled[pair[0]] + spelled[pair[1]]
            if token not in known and (max_spaces is None or token.count(b" ") <= max_spaces):
                break
        else:
            break
        spelled[new] = token
        known.add(token)
        merges.append((*pair, new))
        changed: set[Pair] = set()
        done = whole.get(token)
        for w in places.pop(pair):
            _merge(symbols[w], pair, new, w, counts[w], total, places, changed)
        if done is not None:
            _forget(symbols[done], counts[done], total)
        for formed in changed:
            if total[formed] >= least:
                heapq.heappush(heap, (-total[formed], formed))
    return merges


def _merge(
    word: list[int],
    pair: Pair,
    new: int,
    w: int,
    count: int,
    total: Counter[Pair],
    places: dict[Pair, set[int]],
    changed: set[Pair],
) -> None:
    """Replace the pair in one word, left to right, and keep the counts and places of all its pairs."""
    if pair not in set(pairwise(word)):
        return
    before = list(pairwise(word))
    i = 0
    while i < len(word) - 1:
        if (word[i], word[i + 1]) == pair:
            word[i : i + 2] = [new]
        i += 1
    for old in before:
        total[old] -= count
    for formed in pairwise(word):
        total[formed] += count
        if new in formed:
            places.setdefault(formed, set()).add(w)
            changed.add(formed)


def _forget(word: list[int], count: int, total: Counter[Pair]) -> None:
    """A word that is a token now has no pairs any more."""
    for pair in pairwise(word):
        total[pair] -= count
    word.clear()
