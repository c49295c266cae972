"""The normaliser of a tokenizer.json of pieces: what normalizers.py knows, and SentencePiece's own maps."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.normalizer_steps import SPACES
from fasttrain.tokenizer.normalizers import Normalizer
from fasttrain.tokenizer.sentencepiece_normalize_ref import SPACE
from fasttrain.tokenizer.tokenizer_json_spaces import Spaces

EDGES: tuple[tuple[Mapping[str, Any], re.Pattern[str]], ...] = tuple(
    ({"type": "Replace", "pattern": {"Regex": expression}, "content": ""}, re.compile(ours))
    for expression, ours in ((r"\A +", r"\A +"), (r" +\z", r" +\Z"))
)
"""How sentencepiece_json.py writes that spaces at the ends go."""
_WORDS = re.compile(f"[^{re.escape(SPACES)}]+")


class PieceNormalizer:
    """All that happens to a text before the model sees it."""

    def __init__(self, spaces: Spaces, where: str) -> None:
        """Raises FormatError: a step that is not known to be exact here."""
        self.spaces = spaces
        self._steps = [_step(step, where) for step in spaces.steps]

    def texts(self, texts: Sequence[str]) -> list[str]:
        """The texts as the file's `normalizer` makes them."""
        made = self._stepped(texts)
        if self.spaces.prepends:
            made = [SPACE + text if text else text for text in made]
        return [text.replace(" ", SPACE) for text in made] if self.spaces.escapes else made

    def _stepped(self, texts: Sequence[str]) -> list[str]:
        made = list(texts)
        for step in self._steps:
            made = step(made)
        return made

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
        made = self._stepped([column[n].decode("utf-8", "replace") for n in range(len(column))])
        if self.spaces.scheme != "never" and not inside:
            made = [self.pretokenized(text, is_first=True) for text in made]
        return columns.from_texts([text.encode() for text in made])


def _prefixed(text: str) -> str:
    return SPACE + text if text and not text.startswith(SPACE) else text


def _step(step: Mapping[str, Any], where: str) -> Callable[[Sequence[str]], list[str]]:
    for known, pattern in EDGES:
        if step == known:
            return lambda texts: [pattern.sub("", text) for text in texts]
    return Normalizer(step, where).texts
