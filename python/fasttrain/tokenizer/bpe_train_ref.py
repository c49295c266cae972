"""BPE learning in plain Python, every count kept naively: the definition that the native trainer must equal."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from fasttrain.tokenizer import pretokenize_ref


def count_words(texts: Sequence[bytes], pattern: str) -> Counter[bytes]:
    """How often each pretoken occurs."""
    return Counter(piece for text in texts for piece in pretokenize_ref.pieces(text, pattern))


def learn(
    words: Sequence[Sequence[int]],
    counts: Sequence[int],
    tokens: Sequence[bytes],
    vocab_size: int,
    *,
    min_frequency: int = 0,
    reuses_ids: bool = True,
    given: Sequence[tuple[int, int, int]] = (),
    token_sizes: Sequence[int] = (),
    max_size: int = 0,
) -> list[tuple[int, int, int]]:
    """Merges (left id, right id, id of both), in order. `words`: their symbols; `tokens`: the vocabulary by id.

    Before learning every word goes through the `given` merges, one after another. A candidate is (count, pair, the
    words in which the pair was formed). The one with the highest count is taken, of equals the smallest pair; when the
    pair's count has changed since, the candidate goes back with the count of now. Its merge touches its words only, and
    a pair that a merge forms is a candidate (again). With `token_sizes` no pair larger than `max_size` is a candidate.
    """
    sizes = list(token_sizes)
    vocabulary, id_of = list(tokens), {t: i for i, t in enumerate(tokens) if t}
    symbols = [list(word) for word in words]
    total: Counter[tuple[int, int]] = Counter()
    candidates: list[tuple[int, tuple[int, int], set[int]]] = []

    def offer(formed: dict[tuple[int, int], set[int]]) -> None:
        for pair, places in formed.items():
            if total[pair] > 0 and (not sizes or sizes[pair[0]] + sizes[pair[1]] <= max_size):
                candidates.append((total[pair], pair, places))

    formed: dict[tuple[int, int], set[int]] = {}
    for w, s in enumerate(symbols):
        for left, right, merged in given:
            _merge(s, (left, right), merged, 0, w, Counter(), {})
        for pair in pairwise(s):
            total[pair] += counts[w]
            formed.setdefault(pair, set()).add(w)
    offer(formed)
    merges: list[tuple[int, int, int]] = []
    while len(vocabulary) < vocab_size and candidates:
        best = min(range(len(candidates)), key=lambda k: (-candidates[k][0], candidates[k][1]))
        count, (left, right), places = candidates.pop(best)
        if count != total[left, right]:
            candidates.append((total[left, right], (left, right), places))
            continue
        if count < max(1, min_frequency):
            break
        token = vocabulary[left] + vocabulary[right]
        merged = id_of.get(token, len(vocabulary)) if reuses_ids else len(vocabulary)
        if merged == len(vocabulary):
            vocabulary.append(token)
            id_of[token] = merged
            sizes += [sizes[left] + sizes[right]] if sizes else []
        merges.append((left, right, merged))
        formed = {}
        for w in places:
            _merge(symbols[w], (left, right), merged, counts[w], w, total, formed)
        offer(formed)
    return merges


def _merge(
    s: list[int],
    pair: tuple[int, int],
    merged: int,
    count: int,
    w: int,
    total: Counter[tuple[int, int]],
    formed: dict[tuple[int, int], set[int]],
) -> None:
    """Merge the pair in one word, left to right, and keep the counts of its neighbours."""
    i = 0
    while i < len(s) - 1:
        if (s[i], s[i + 1]) == pair:
            s[i : i + 2] = [merged]
            if i > 0:
                total[s[i - 1], pair[0]] -= count
                total[s[i - 1], merged] += count
                formed.setdefault((s[i - 1], merged), set()).add(w)
            if i + 1 < len(s):
                total[pair[1], s[i + 1]] -= count
                total[merged, s[i + 1]] += count
                formed.setdefault((merged, s[i + 1]), set()).add(w)
        i += 1
