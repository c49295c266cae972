"""Tokens that no text can give, that are no text by themselves, or that stand in the vocabulary twice."""

from collections.abc import Sequence
from dataclasses import dataclass

from fasttrain.comm.threads import threads_of_rank
from fasttrain.text.columns import from_texts
from fasttrain.tokenizer import bpe_encode_ref
from fasttrain.tokenizer.judge import AnyTokenizer, is_partial
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.sentencepiece_file import Kind
from fasttrain.tokenizer.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Health:
    """Ids of the ordinary tokens by what is wrong with them; an id may be in several lists."""

    ordinary: int
    """Tokens that are not special."""
    special: int
    """Special and reserved tokens: no text gives them."""
    holes: int
    """Ids below the highest that are no token."""
    partial: list[int]
    """Invalid: bytes that are part of a character and no UTF-8 by themselves (single bytes included)."""
    unreachable: list[int]
    """No text gives them: their merges never meet, or the pattern cuts through them."""
    repeated: list[int]
    """Their bytes are another token's of a lower id."""


def health(tokenizer: AnyTokenizer) -> Health:
    """Look at every token.

    A token that is valid UTF-8 is reachable when its text gives it: what a pretoken's merges do inside a span does not
    depend on what lies around it, as long as nothing merges across its ends. One that is part of a character only ever
    stands inside a longer pretoken, so for it the merges are asked without the pattern.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        return _of_pieces(tokenizer)
    v = tokenizer.vocabulary
    special = set(v.special.values())
    ordinary = [i for i, t in enumerate(v.tokens) if t and i not in special]
    ids, offsets = tokenizer.encode_batch(from_texts([v.tokens[i] for i in ordinary]), threads=threads_of_rank())
    partial = [i for i in ordinary if is_partial(v.tokens[i])]
    broken = set(partial)
    alone = (offsets[1:] - offsets[:-1] == 1).tolist()
    first = offsets[:-1].tolist()
    missed = {i for k, i in enumerate(ordinary) if not (alone[k] and int(ids[first[k]]) == i)}
    unreachable = sorted((missed - broken) | unmerged(v, sorted(missed & broken)))
    return Health(
        ordinary=len(ordinary),
        special=len(special),
        holes=sum(1 for t in v.tokens if not t),
        partial=partial,
        unreachable=unreachable,
        repeated=_repeated(v.tokens, ordinary),
    )


def _of_pieces(tokenizer: SentencePieceTokenizer) -> Health:
    """Of SentencePiece: a piece is reachable when its own characters give it; the bytes of byte fallback always are."""
    model, tokens = tokenizer.model, tokenizer.vocabulary.tokens
    special = set(tokenizer.special_tokens.values())
    ordinary = [i for i, t in enumerate(tokens) if t and i not in special]
    asked = [i for i in ordinary if model.kinds[i] != Kind.BYTE]
    ids, offsets = tokenizer.encode_normalized(from_texts([model.pieces[i] for i in asked]), threads=threads_of_rank())
    at, flat = offsets.tolist(), ids.tolist()
    return Health(
        ordinary=len(ordinary),
        special=len(special),
        holes=sum(1 for t in tokens if not t),
        partial=[i for i in ordinary if is_partial(tokens[i])],
        unreachable=[i for k, i in enumerate(asked) if flat[at[k] : at[k + 1]] != [i]],
        repeated=_repeated(model.pieces, ordinary),
    )


def _repeated(tokens: Sequence[bytes], ordinary: list[int]) -> list[int]:
    seen: dict[bytes, int] = {}
    return [i for i in ordinary if seen.setdefault(tokens[i], i) != i]


def unmerged(v: Vocabulary, ids: list[int]) -> set[int]:
    """Those whose bytes the merges alone do not join."""
    byte_ids = v.byte_ids("health").tolist()
    results = v.id_of_rank[v.ranks].tolist()
    merges = {(a, b): (r, i) for (a, b), r, i in zip(v.pairs.tolist(), v.ranks.tolist(), results)}
    return {i for i in ids if bpe_encode_ref.merge(v.tokens[i], byte_ids, merges) != [i]}
