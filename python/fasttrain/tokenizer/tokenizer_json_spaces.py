"""What surrounds a SentencePiece vocabulary in a tokenizer.json: how spaces become U+2581 and back. What is not known
exactly is refused with its key. The forms are those of tokenizers 0.23 and the converters of transformers:

normalizer      any steps of normalizers.py and Precompiled; at the end, or not, Prepend of U+2581 and Replace of spaces
                by it; or none
pre_tokenizer   none; Metaspace; WhitespaceSplit and Metaspace; Split at U+2581 that goes with what follows it; Split at
                spaces where none are left (Gemma), which does nothing
decoder         Metaspace; or Replace of U+2581 by spaces, ByteFallback or not, Fuse, Strip of one leading space or not
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer.sentencepiece_normalize_ref import SPACE

Scheme = Literal["never", "first", "always", "words"]
_ESCAPE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_PREPEND = {"type": "Prepend", "prepend": SPACE}
_UNESCAPE = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
_STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
_AT_SPACES = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
_AT_ESCAPED = {"type": "Split", "pattern": {"String": SPACE}, "behavior": "MergedWithNext", "invert": False}


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """What becomes of spaces."""

    steps: tuple[Mapping[str, Any], ...]
    """Steps of the normaliser before U+2581 is put anywhere."""
    prepends: bool
    """The normaliser puts U+2581 before each text that is not empty."""
    escapes: bool
    """It replaces spaces by U+2581; else the pre-tokenizer does."""
    scheme: Scheme
    """Which texts the pre-tokenizer puts U+2581 before, unless they begin with one; words: each word of the text."""
    splits: bool
    """U+2581 begins a word, and each word is encoded by itself."""
    strips: Literal["nothing", "space", "first"]
    """What decoding leaves out: nothing, one leading space, or every space of the first token."""


def parse(data: Mapping[str, Any], where: str) -> Spaces:
    """Read `normalizer`, `pre_tokenizer` and `decoder`. Raises FormatError naming file and key."""
    steps, prepends, escapes = _normalizer(data.get("normalizer"), where)
    scheme, splits = _pre_tokenizer(data.get("pre_tokenizer"), escapes, where)
    return Spaces(steps=tuple(steps), prepends=prepends, escapes=escapes, scheme=scheme, splits=splits,
                  strips=_decoder(data.get("decoder"), where))  # fmt: skip


def _normalizer(data: Any, where: str) -> tuple[list[Mapping[str, Any]], bool, bool]:
    if data is None:
        return [], False, False
    steps = data.get("normalizers") if isinstance(data, dict) and data.get("type") == "Sequence" else [data]
    if not isinstance(steps, list) or not all(isinstance(s, dict) and isinstance(s.get("type"), str) for s in steps):
        raise FormatError(f"{where}: normalizer must be a step or a Sequence of steps, got {data!r}")
    steps = list(steps)
    escapes = bool(steps) and steps[-1] == _ESCAPE
    if escapes:
        steps.pop()
    prepends = escapes and bool(steps) and steps[-1] == _PREPEND
    if prepends:
        steps.pop()
    if any(step["type"] == "Prepend" for step in steps):
        raise FormatError(
            f"{where}: normalizer: Prepend must put {SPACE!r} before a text just before spaces are replaced by it, at "
            f"the end; got {data!r}"
        )
    return steps, prepends, escapes


def _pre_tokenizer(data: Any, escapes: bool, where: str) -> tuple[Scheme, bool]:
    if escapes and (data is None or data == _AT_SPACES):
        return "never", False
    if escapes and data == _AT_ESCAPED:
        return "never", True
    steps = data.get("pretokenizers") if isinstance(data, dict) and data.get("type") == "Sequence" else [data]
    if isinstance(steps, list) and steps and not escapes:
        found = _metaspace(steps[-1])
        if found is not None and len(steps) == 1:
            return found
        if found == ("always", True) and steps[:-1] == [{"type": "WhitespaceSplit"}]:
            return "words", True
    raise FormatError(
        f"{where}: pre_tokenizer must be null or a Split at {SPACE!r} where normalizer replaces spaces by that at its "
        f"end, and Metaspace of that, alone or behind WhitespaceSplit, where it does not; got {data!r}"
    )


def _metaspace(data: Any) -> tuple[Scheme, bool] | None:
    """Which texts it puts U+2581 before, and whether it splits at it; None: another step."""
    if not isinstance(data, dict) or data.get("type") != "Metaspace" or data.get("replacement") != SPACE:
        return None
    scheme, splits = data.get("prepend_scheme", "always"), data.get("split", True)
    adds = data.get("add_prefix_space", scheme != "never")  # of older files
    if scheme not in ("never", "first", "always") or not isinstance(splits, bool) or adds is not (scheme != "never"):
        return None
    return scheme, splits


def _decoder(data: Any, where: str) -> Literal["nothing", "space", "first"]:
    found = _metaspace(data)
    if found is not None:
        return "nothing" if found[0] == "never" else "first"
    steps = data.get("decoders") if isinstance(data, dict) and data.get("type") == "Sequence" else None
    if isinstance(steps, list):
        rest = [step for step in steps if step != {"type": "ByteFallback"}]
        in_order = steps.index({"type": "ByteFallback"}) == 1 if len(rest) < len(steps) else True
        if in_order and len(steps) - len(rest) < 2 and rest in ([_UNESCAPE, {"type": "Fuse"}],
                                                               [_UNESCAPE, {"type": "Fuse"}, _STRIP]):  # fmt: skip
            return "space" if len(rest) > 2 else "nothing"
    raise FormatError(
        f"{where}: decoder must be Metaspace, or a Sequence of Replace {SPACE!r} by a space, ByteFallback or not, Fuse "
        f"and, at most, Strip of one leading space; got {data!r}"
    )


def has_byte_fallback(decoder: Any) -> bool:
    """Whether the decoder joins bytes to characters."""
    return isinstance(decoder, dict) and {"type": "ByteFallback"} in decoder.get("decoders", [])
