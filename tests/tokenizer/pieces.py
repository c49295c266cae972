"""SentencePiece models written by hand, as their protocol buffer has them."""

import struct


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, bool | int):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model(
    pieces, *, algorithm="bpe", byte_fallback=False, dummy_prefix=True, remove_extra=True, charsmap=b"", suffix=False
):
    """A .model file. `pieces`: (text, score) or (text, score, kind); <unk>, <s>, </s> and bytes come first."""
    rows = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    rows += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)] if byte_fallback else []
    rows += [(*row, 1)[:3] for row in pieces]
    data = b"".join(
        field(1, field(1, text.encode()) + field(2, float(score)) + field(3, kind)) for text, score, kind in rows
    )
    trainer = field(3, 2 if algorithm == "bpe" else 1) + field(35, byte_fallback) + field(24, suffix)
    normalizer = field(2, charsmap) + field(3, dummy_prefix) + field(4, remove_extra)
    return data + field(2, trainer) + field(3, normalizer)


def first_id(byte_fallback=False):
    """Id of the first of `pieces`."""
    return 3 + 256 * byte_fallback
