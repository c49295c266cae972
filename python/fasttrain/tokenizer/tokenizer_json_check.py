"""Whether what a tokenizer.json holds is what its keys are for; the first thing that is not is named with its key."""

from collections.abc import Mapping
from typing import Any

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer.added_split import FLAGS

MAX_ID = (1 << 21) - 2
"""The highest id that the encoder's pair table holds. Ids beyond 2^32, which no token shard holds either, are refused
here before a list of that length is made."""


def check(data: Mapping[str, Any], where: str) -> None:
    """Check types, ids and merges of `model` and `added_tokens`. Raises FormatError naming file and key."""
    model = data["model"]
    owner = _vocab(model["vocab"], where)
    _pre_tokenizer(data.get("pre_tokenizer"), where)
    _added(data.get("added_tokens"), model["vocab"], owner, where)
    if not isinstance(model["merges"], list):
        raise FormatError(f"{where}: model.merges must be a list, got {_shown(model['merges'])}")
    for k, merge in enumerate(model["merges"]):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(p, str) and p for p in parts)):
            raise FormatError(f"{where}: model.merges[{k}] must be two tokens, got {_shown(merge)}")


def _pre_tokenizer(pre: Any, where: str) -> None:
    steps = pre.get("pretokenizers", []) if isinstance(pre, dict) else [] if pre is None else None
    if not isinstance(steps, list):
        raise FormatError(f"{where}: pre_tokenizer must be a step or a Sequence of steps, got {_shown(pre)}")
    for k, step in enumerate(steps):
        if not isinstance(step, dict) or not isinstance(step.get("pattern", {}), dict):
            raise FormatError(f"{where}: pre_tokenizer.pretokenizers[{k}] must be a step, got {_shown(step)}")
        if not isinstance(step.get("pattern", {}).get("Regex", ""), str):
            raise FormatError(f"{where}: pre_tokenizer.pretokenizers[{k}].pattern.Regex must be a text")


def check_id(value: Any, where: str) -> None:
    """Raises FormatError unless the value is an id; `where`: file and key."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_ID:
        raise FormatError(f"{where} must be an id from 0 to {MAX_ID}, got {_shown(value)}")


def _vocab(vocab: Any, where: str) -> dict[int, str]:
    if not isinstance(vocab, dict):
        raise FormatError(f"{where}: model.vocab must map tokens to ids, got {_shown(vocab)}")
    owner: dict[int, str] = {}
    for token, i in vocab.items():
        check_id(i, f"{where}: model.vocab[{token!r}]")
        if owner.setdefault(i, token) != token:
            raise FormatError(f"{where}: model.vocab[{token!r}] has id {i}, which is that of {owner[i]!r}")
    return owner


def _added(added: Any, vocab: Mapping[str, int], owner: Mapping[int, str], where: str) -> None:
    if added is not None and not isinstance(added, list):
        raise FormatError(f"{where}: added_tokens must be a list, got {_shown(added)}")
    named: dict[int, str] = {}
    for k, token in enumerate(added or []):
        key = f"{where}: added_tokens[{k}]"
        content = token.get("content") if isinstance(token, dict) else None
        if not isinstance(content, str) or not content or not isinstance(token.get("special"), bool):
            raise FormatError(f"{key} must have an id, a content and whether it is special, got {_shown(token)}")
        for flag in FLAGS:
            if not isinstance(token.get(flag, False), bool):
                raise FormatError(f"{key}.{flag} ({content!r}) must be true or false, got {_shown(token[flag])}")
        i = token.get("id")
        check_id(i, f"{key}.id ({content!r})")
        other = owner.get(i, content)
        if vocab.get(content, i) != i or other != content or named.setdefault(i, content) != content:
            raise FormatError(f"{key} {content!r} has id {i}, but model.vocab or another added token says otherwise")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
