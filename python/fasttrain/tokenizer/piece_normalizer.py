"""The normaliser of a tokenizer.json of pieces: what normalizers.py knows, and SentencePiece's own maps."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.normalizers import SPACE as WHITE_SPACE
from fasttrain.tokenizer.normalizers import Normalizer
from fasttrain.tokenizer.precompiled import Precompiled
from fasttrain.tokenizer.sentencepiece_normalize_ref import SPACE
from fasttrain.tokenizer.tokenizer_json_spaces import Spaces

EDGES: tuple[tuple[Mapping[str, Any], re.Pattern[str]], ...] = tuple(
    ({"type": "Replace", "pattern": {"Regex": expression}, "content": ""}, re.compile(ours))
    for expression, ours in ((r"\A +", r"\A +"), (r" +\z", r" +\Z"))
)
"""How sentencepiece_json.py writes that spaces at the ends go."""
_WORDS = re.compile(f"[^{WHITE_SPACE}]+")


class PieceNormalizer:
    """All that happens to a text before the model sees it."""

    def __init__(self, spaces: Spaces, where: str) -> None:
        """Raises FormatError: a step that is not known to be exact here."""
        self.spaces = spaces
        self._steps = [_step(step, where) for step in spaces.steps]

    def __call__(self, text: str) -> str:
        """The text as the file's `normalizer` makes it."""
        for step in self._steps:
            text = step(text)
        if self.spaces.prepends and text:
            text = SPACE + text
        return text.replace(" ", SPACE) if self.spaces.escapes else text

    def pretokenized(self, text: str, *, is_first: bool) -> str:
        """A normalised text as `pre_tokenizer` makes it. is_first: it begins what is encoded."""
        scheme = self.spaces.scheme
        if scheme == "words":
            return "".join(_prefixed(word) for word in _WORDS.findall(text))
        text = text.replace(" ", SPACE)
        return _prefixed(text) if scheme == "always" or (scheme == "first" and is_first) else text

    def column(self, column: TextColumn, *, inside: bool) -> TextColumn:
        """N texts, but for the spaces that the native normaliser replaces and the U+2581 that it puts before them.

        inside: they are stretches of longer ones, and nothing is put before them.
        """
        if not self._steps and self.spaces.scheme == "never":
            return column
        made = []
        for n in range(len(column)):
            text = column[n].decode("utf-8", "replace")
            for step in self._steps:
                text = step(text)
            if self.spaces.scheme != "never" and not inside:
                text = self.pretokenized(text, is_first=True)
            made.append(text.encode())
        return columns.from_texts(made)


def _prefixed(text: str) -> str:
    return SPACE + text if text and not text.startswith(SPACE) else text


def _step(step: Mapping[str, Any], where: str) -> Callable[[str], str]:
    if step["type"] == "Precompiled":
        return Precompiled(step, where)
    for known, pattern in EDGES:
        if step == known:
            return lambda text: pattern.sub("", text)
    return Normalizer(step, where)
