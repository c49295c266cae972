"""tokenizer.json, the file of Hugging Face tokenizers: read when its meaning is exactly ours, refused otherwise."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.tokenizer import byte_level, patterns
from fasttrain.tokenizer.added_split import FLAGS
from fasttrain.tokenizer.tokenizer_json_check import check
from fasttrain.tokenizer.vocabulary import Vocabulary, from_merges

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


def write(path: Path, vocabulary: Vocabulary) -> None:
    """Write the file whole or not at all. `tokenizers` and `transformers` load it and give the same ids."""
    data = json.dumps(to_json(vocabulary), ensure_ascii=False, indent=1) + "\n"
    atomic.write_bytes(path, data.encode())


def to_json(v: Vocabulary) -> dict[str, Any]:
    """The file's content. Ranks that merges share (tiktoken) become a list, in the order of (rank, left, right)."""
    name = {i: t for t, i in v.special.items()}
    texts = [name.get(i, byte_level.to_text(t)) for i, t in enumerate(v.tokens)]
    first: dict[str, int] = {}
    for i, t in enumerate(texts):
        if t and first.setdefault(t, i) != i:
            raise FormatError(f"tokenizer.json: token {i} is written {t!r}, as token {first[t]} is; one would be lost")
    order = np.lexsort((v.pairs[:, 1], v.pairs[:, 0], v.ranks))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": t,
                **{flag: flag in v.flags.get(t, ()) for flag in FLAGS},
                "special": t not in v.plain,
            }
            for t, i in v.special.items()
        ],
        "normalizer": v.normalizer,
        "pre_tokenizer": _pre_tokenizer(v.pattern),
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": v.ignore_merges,
            "vocab": first,
            "merges": [[texts[a], texts[b]] for a, b in v.pairs[order].tolist()],
        },
    }


def _pre_tokenizer(pattern: str) -> dict[str, Any]:
    if pattern == "gpt2":
        return {**_BYTE_LEVEL, "use_regex": True}
    splits = [
        {"type": "Split", "pattern": {"Regex": e}, "behavior": "Isolated", "invert": False}
        for e in patterns.expressions(pattern)
    ]
    return {"type": "Sequence", "pretokenizers": [*splits, {**_BYTE_LEVEL, "use_regex": False}]}


def read(path: Path) -> Vocabulary:
    """Read a byte-level BPE tokenizer.json with a known pattern.

    The post-processor (which adds tokens around a text), truncation and padding are not applied: ids are those of
    `encode(text, add_special_tokens=False)`. Raises FormatError naming what differs from what is known here.
    """
    data = atomic.read_json(path)
    where = str(path)
    model = data.get("model") if isinstance(data, dict) else None
    if not isinstance(model, dict) or "vocab" not in model or "merges" not in model:
        raise FormatError(f"{where}: must be a tokenizer.json with a BPE model, got no vocabulary and merges")
    check(data, where)
    wanted: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("model.type", model.get("type", "BPE"), ("BPE",)),
        ("model.dropout", model.get("dropout"), (None, 0.0)),
        ("model.byte_fallback", model.get("byte_fallback", False), (False,)),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix"), (None, "")),
        ("model.end_of_word_suffix", model.get("end_of_word_suffix"), (None, "")),
    ]
    for name, value, known in wanted:
        if value not in known:
            raise FormatError(f"{where}: {name} must be {known[0]!r}, got {value!r}; this is not supported")
    pattern = _pattern(data.get("pre_tokenizer"), where)
    special, plain, flags = {}, set(), {}
    for token in data.get("added_tokens") or []:
        special[token["content"]] = int(token["id"])
        if not token["special"]:
            plain.add(token["content"])
        if own := frozenset(flag for flag in FLAGS if token.get(flag)):
            flags[token["content"]] = own
    found = _vocabulary(model, special, frozenset(plain), pattern, where)
    normalizer = data.get("normalizer")
    if normalizer == {"type": "Sequence", "normalizers": []}:
        normalizer = None
    return replace(found, normalizer=normalizer, flags=flags)


def _vocabulary(
    model: dict[str, Any], special: dict[str, int], plain: frozenset[str], pattern: str, where: str
) -> Vocabulary:
    vocab: dict[str, int] = model["vocab"]
    tokens = [b""] * (1 + max([*vocab.values(), *special.values()], default=0))
    for text, i in vocab.items():
        raw = text.encode() if text in special else byte_level.to_bytes(text)
        if raw is None:
            raise FormatError(f"{where}: token {text!r} is not byte-level; only byte-level vocabularies are supported")
        tokens[i] = raw
    for text, i in special.items():
        tokens[i] = text.encode()
    pairs, ids = [], []
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if left not in vocab or right not in vocab or left + right not in vocab:
            raise FormatError(f"{where}: merge {left!r} + {right!r} has a part or a result outside the vocabulary")
        pairs.append((vocab[left], vocab[right]))
        ids.append(vocab[left + right])
    return from_merges(
        tokens,
        special,
        np.array(pairs, np.uint32).reshape(-1, 2),
        np.array(ids, np.uint32),
        pattern,
        ignore_merges=bool(model.get("ignore_merges", False)),
        plain=plain,
    )


def _pattern(pre: Any, where: str) -> str:
    """The pattern's name, from one of the forms whose meaning is known exactly."""
    steps = pre.get("pretokenizers", []) if isinstance(pre, dict) and pre.get("type") == "Sequence" else [pre]
    last = steps[-1] if steps else None
    if not isinstance(last, dict) or last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise FormatError(f"{where}: pre_tokenizer must end in ByteLevel without a prefix space, got {last!r}")
    if len(steps) == 1 and last.get("use_regex", True):
        return "gpt2"
    splits = steps[:-1]
    is_known = (
        splits
        and not last.get("use_regex", True)
        and all(
            split.get("type") == "Split"
            and split.get("behavior") == "Isolated"
            and not split.get("invert")
            and "Regex" in split.get("pattern", {})
            for split in splits
        )
    )
    if not is_known:
        raise FormatError(f"{where}: pre_tokenizer must be Splits by a regex, isolated, then ByteLevel; got {pre!r}")
    return patterns.named([split["pattern"]["Regex"] for split in splits], where)
