"""Decoding while ids arrive: text is given out as soon as its characters are whole."""

import codecs
from collections.abc import Callable, Iterable


class DecodeStream:
    """Takes ids as they come; the texts that `feed` and `close` return, one after another, are what `decode` gives."""

    def __init__(
        self, decode_bytes: Callable[[Iterable[int]], bytes], is_padded: Callable[[bytes], bool] = lambda _: False
    ) -> None:
        """`is_padded`: whether the first byte of the stream's first bytes is none of the text."""
        self._decode_bytes, self._is_padded, self._has_begun = decode_bytes, is_padded, False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, *ids: int) -> str:
        """Text that is whole now. Bytes of a character that later ids complete are kept back."""
        text = self._decode_bytes(ids)
        if text and not self._has_begun:
            self._has_begun = True
            text = text[self._is_padded(text) :]
        return self._decoder.decode(text)

    def close(self) -> str:
        """What is left: U+FFFD for bytes that nothing completed. The stream can begin again."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._has_begun = False
        return rest
