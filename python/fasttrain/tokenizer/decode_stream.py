"""Decoding while ids arrive: text is given out as soon as its characters are whole."""

import codecs
from collections.abc import Callable, Iterable


class DecodeStream:
    """Takes ids as they come; the texts that `feed` and `close` return, one after another, are what `decode` gives."""

    def __init__(self, decode_bytes: Callable[[Iterable[int]], bytes]) -> None:
        self._decode_bytes = decode_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, *ids: int) -> str:
        """Text that is whole now. Bytes of a character that later ids complete are kept back."""
        return self._decoder.decode(self._decode_bytes(ids))

    def close(self) -> str:
        """What is left: U+FFFD for bytes that nothing completed. The stream can begin again."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
