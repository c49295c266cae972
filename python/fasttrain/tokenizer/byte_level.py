"""Bytes as printable characters, as GPT-2's vocabulary file and every byte-level tokenizer.json write them."""

from functools import cache


@cache
def alphabet() -> tuple[str, ...]:
    """Character of each byte: itself where it prints in Latin-1, else the next code point from U+0100 on."""
    prints = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(b) if b in prints else chr(next(others)) for b in range(256))


@cache
def _byte_of() -> dict[str, int]:
    return {c: b for b, c in enumerate(alphabet())}


def to_text(token: bytes) -> str:
    """A token's bytes in the alphabet."""
    table = alphabet()
    return "".join(table[b] for b in token)


def to_bytes(token: str) -> bytes | None:
    """The bytes of a token written in the alphabet; None when a character is not of it."""
    table = _byte_of()
    try:
        return bytes([table[c] for c in token])
    except KeyError:
        return None
