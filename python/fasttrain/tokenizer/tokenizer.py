"""The tokenizer: a vocabulary that encodes, decodes, and is kept in files that other libraries read."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import normalized_spans, patterns, tiktoken_file, tokenizer_json, tokenizer_json_pieces
from fasttrain.tokenizer import spans as spans_
from fasttrain.tokenizer.added_split import AddedSplit, encode_between, places
from fasttrain.tokenizer.bpe_dropout import bpe_dropout, check_dropout
from fasttrain.tokenizer.bpe_encode import BpeModel, bpe_encode
from fasttrain.tokenizer.decode_stream import DecodeStream
from fasttrain.tokenizer.json_pieces import JsonPieceTokenizer
from fasttrain.tokenizer.normalizers import Normalizer
from fasttrain.tokenizer.sentencepiece import EOT_NAMES, SentencePieceTokenizer
from fasttrain.tokenizer.vocabulary import Vocabulary

Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]


class Tokenizer:
    """Byte-level BPE. Every text has ids and every sequence of ordinary ids is the text that it came from, or, when
    tokenizer.json names a normaliser, what that makes of it.

    Merge-list semantics (Hugging Face tokenizers): ids equal theirs on the same tokenizer.json (with the Unicode
    16.0 that they have). A vocabulary read from a .tiktoken file keeps tiktoken's rank semantics. Safe to use from
    many threads, and can be sent to other processes.
    """

    def __init__(self, vocabulary: Vocabulary, where: str = "tokenizer") -> None:
        self.vocabulary = vocabulary
        special = set(vocabulary.special.values())
        self._normalizer = None if vocabulary.normalizer is None else Normalizer(vocabulary.normalizer, where)
        self._split = self._make_split(where)
        self._model = BpeModel(
            tokens=[b"" if i in special else t for i, t in enumerate(vocabulary.tokens)],
            pairs=vocabulary.pairs,
            ranks=vocabulary.ranks,
            id_of_rank=vocabulary.id_of_rank,
            byte_ids=vocabulary.byte_ids(where),
            pattern=vocabulary.pattern,
            ignore_merges=vocabulary.ignore_merges,
            added={text.encode(): i for text, i in vocabulary.special.items() if text},
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["vocabulary"])  # type: ignore[misc]

    @overload
    @classmethod
    def load(
        cls, path: str | Path, *, pattern: str, special_tokens: Mapping[str, int] | None = None
    ) -> "Tokenizer": ...
    @overload
    @classmethod
    def load(
        cls, path: str | Path, *, pattern: None = None, special_tokens: Mapping[str, int] | None = None
    ) -> "AnyTokenizer": ...
    @classmethod
    def load(
        cls, path: str | Path, *, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None
    ) -> "AnyTokenizer":
        """Read a tokenizer.json (byte-level BPE with a known pattern, or a SentencePiece vocabulary), a .tiktoken file
        or a SentencePiece .model.

        Args:
            path: the file, or a folder that holds tokenizer.json or tokenizer.model.
            pattern: a name of patterns.NUMBER (cl100k, o200k, ...); must be given for .tiktoken, and for that only.
            special_tokens: name -> id, for .tiktoken only (the file holds none).
        Returns: a Tokenizer; of a .model file a SentencePieceTokenizer, with the same methods but `spans`, whose
            texts may not spell out special tokens; of such a tokenizer.json one whose texts may.
        Raises: FormatError: the file is missing, damaged, or means something that is not supported here; nothing is
            guessed. ValueError: `pattern` missing, unknown, or given where the file names its own.
        """
        path = Path(path)
        path = file_in(path)
        if not path.is_file():
            raise FormatError(f"{path}: no such tokenizer file")
        if path.suffix == ".tiktoken":
            if pattern is None:
                raise ValueError(f"{path}: a .tiktoken file does not name its pattern; give pattern=, e.g. 'cl100k'")
            patterns.number("tokenizer", pattern)
            return cls(tiktoken_file.read(path, pattern, special_tokens or {}), str(path))
        if pattern is not None or special_tokens is not None:
            kind = "a .model file" if path.suffix == ".model" else "tokenizer.json"
            raise ValueError(f"{path}: {kind} names its pattern and special tokens itself; leave them out")
        if path.suffix == ".model":
            return SentencePieceTokenizer.load(path)
        if tokenizer_json_pieces.is_of_pieces(atomic.read_json(path)):
            return JsonPieceTokenizer.load(path)
        return cls(tokenizer_json.read(path), str(path))

    def _make_split(self, where: str) -> AddedSplit | None:
        """What finds added tokens, where the encoder itself, which knows of no flags, would find others."""
        v = self.vocabulary
        own = {v.flags.get(text, frozenset()) for text in v.special}
        alike = len(own) == 1 and own <= {frozenset(), frozenset({"normalized"})}
        if not own or (alike and self._normalizer is None):
            return None
        return AddedSplit({t: i for t, i in v.special.items() if t}, v.flags, self._normalizer, where)

    def save(self, path: str | Path) -> None:
        """Write tokenizer.json (into it, when `path` is a folder), whole or not at all.

        A vocabulary that came from .tiktoken becomes a merge list, which gives other ids for about two tokens in a
        million (where two merges give the same token); every other one is read back the same.
        """
        path = Path(path)
        tokenizer_json.write(path / "tokenizer.json" if path.is_dir() else path, self.vocabulary)

    def encode_batch(
        self,
        texts: Iterable[str | bytes] | TextColumn | Any,
        *,
        add_eot: bool = False,
        allow_special: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
        first_text: int = 0,
        threads: int | None = None,
        impl: str | None = None,
    ) -> tuple[Ids, Offsets]:
        """Return the ids of all texts, one after another, and where each text's begin.

        Shapes: N texts, T ids.
        Args:
            texts: strings or UTF-8 bytes, a TextColumn, or a pyarrow string column (zero-copy).
            add_eot: append `eot_id` to each text.
            allow_special: added tokens that a text spells out become their ids. Off: a text is text, whatever it
                says, so no document can end itself.
            dropout: BPE-dropout: at every step each merge is left out with this probability, so that a text has other
                ids with every seed; all of them decode to it. 1: its bytes.
            seed: of the dropout. The ids depend on it, on a text and its number, and on nothing else. Added tokens stay
                whole.
            first_text: number of the first text, when these are a part of more: the ids are those of the whole.
            threads: at most so many. The ids do not depend on it.
            impl: an implementation's name; the fastest that runs here when None.
        Returns: (T,) uint32 and (N+1,) int64: text n is ids[offsets[n]:offsets[n + 1]].
        Raises: TypeError: neither texts nor a string column. ValueError: no end-of-text token, a dropout
            that is no probability, or an unknown impl.
        """
        column = _column(texts)
        eot = self.eot_id if add_eot else None
        check_dropout("encode_batch", dropout)
        if allow_special and self._split:
            return self._encode_split(self._split, column, eot, threads, impl, dropout, seed, first_text)
        column = self.normalized(column, threads=threads)
        if dropout:
            return bpe_dropout(
                self._model, column, dropout=dropout, seed=seed, first_text=first_text, eot=eot,
                finds_added=allow_special, threads=threads, impl=impl,
            )  # fmt: skip
        return bpe_encode(self._model, column, eot=eot, finds_added=allow_special, threads=threads, impl=impl)

    def normalized(self, texts: Iterable[str | bytes] | TextColumn | Any, *, threads: int | None = None) -> TextColumn:
        """The texts as the pretokenizer sees them; without a normaliser, and where it changes nothing, as they are."""
        column = _column(texts)
        return self._normalizer.column(column, threads=threads) if self._normalizer else column

    def encode_normalized(self, column: TextColumn, *, threads: int | None = None) -> tuple[Ids, Offsets]:
        """Encode texts that are normalised already."""
        return bpe_encode(self._model, column, threads=threads)

    def _encode_split(
        self, split: AddedSplit, column: TextColumn, eot: int | None, threads: int | None, impl: str | None,
        dropout: float, seed: int, first_text: int,
    ) -> tuple[Ids, Offsets]:  # fmt: skip
        """Cut at added tokens first; what is between them is encoded as texts of their own."""
        cut = split([column[n].decode("utf-8", "surrogateescape") for n in range(len(column))])

        def encode(part: TextColumn) -> tuple[Ids, Offsets]:
            if not dropout:
                return bpe_encode(self._model, part, threads=threads, impl=impl)
            sizes = {i: len(text.encode()) for text, i in self.special_tokens.items()}
            return bpe_dropout(
                self._model, part, dropout=dropout, seed=seed, first_text=first_text, threads=threads, impl=impl,
                parts=places(cut, sizes),
            )  # fmt: skip

        return encode_between(cut, encode, [] if eot is None else [eot])

    def encode(self, text: str, *, allow_special: bool = False) -> Ids:
        """Return (T,) uint32: the ids of one text. See `encode_batch`."""
        return self.encode_batch([text], allow_special=allow_special, threads=1)[0]

    def decode_bytes(self, ids: Iterable[int] | npt.NDArray[Any], *, skip_special: bool = False) -> bytes:
        """The bytes that the ids stand for. Raises ValueError for an id that is no token."""
        tokens, skipped = self.vocabulary.tokens, self._skipped if skip_special else frozenset()
        flat = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        for i in set(flat):
            if not 0 <= i < len(tokens) or not tokens[i]:
                raise ValueError(f"decode: ids must be tokens of a vocabulary of {len(tokens)}, got {i}")
        return b"".join([tokens[i] for i in flat if i not in skipped])

    def decode(self, ids: Iterable[int] | npt.NDArray[Any], *, skip_special: bool = False) -> str:
        """The text that the ids stand for; bytes that are no UTF-8 (ids cut inside a character) become U+FFFD."""
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", "replace")

    def decode_batch(
        self, ids: npt.NDArray[Any], offsets: npt.NDArray[Any], *, skip_special: bool = False
    ) -> list[str]:
        """The texts of what `encode_batch` returned. See `decode`."""
        flat, bounds = ids.tolist(), offsets.tolist()
        return [self.decode(flat[a:b], skip_special=skip_special) for a, b in pairwise(bounds)]

    def decode_stream(self, *, skip_special: bool = False) -> DecodeStream:
        """Decode ids as they arrive, whole characters at a time."""
        return DecodeStream(lambda ids: self.decode_bytes(ids, skip_special=skip_special))

    def spans(
        self, texts: Iterable[str | bytes] | TextColumn | Any, ids: Ids, offsets: Offsets, *, unit: str = "bytes"
    ) -> spans_.Spans:
        """Where in its text each id of `encode_batch(texts)` lies: first place and one behind the last.

        Args:
            texts: what was encoded.
            ids, offsets: what came back.
            unit: "bytes" or "characters"; a character that several tokens share lies in the spans of all.
        Returns: (T, 2) int64. What `add_eot` appended has no extent. With a normaliser, or added tokens with flags,
            where Hugging Face tokenizers says that the token comes from in the text as it was before.
        Raises: ValueError: an unknown unit, or ids that are not those of the texts.
        """
        if unit not in ("bytes", "characters"):
            raise ValueError(f"spans: unit must be 'bytes' or 'characters', got {unit!r}")
        column, bounds = _column(texts), np.asarray(offsets)
        sizes = np.array([len(t) for t in self.vocabulary.tokens], np.int64)
        eot_ids = [i for t, i in self.special_tokens.items() if t in EOT_NAMES]
        if self._normalizer or self._split:
            found = normalized_spans.byte_spans(
                column, ids, bounds, sizes, normalizer=self._normalizer, split=self._split, eot_ids=eot_ids,
                added_ids=list(self.special_tokens.values()),
            )  # fmt: skip
        else:
            found = spans_.byte_spans(ids, bounds, sizes)
            if not spans_.clip(found, ids, bounds, np.diff(column.offsets), eot_ids):
                raise ValueError("spans: ids must be those of the texts, got others")
        if unit == "bytes":
            return found
        views = [column.data[column.offsets[n] : column.offsets[n + 1]] for n in range(len(column))]
        return spans_.character_spans(found, bounds, views)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return len(self.vocabulary.tokens)

    @property
    def num_merges(self) -> int:
        """Pairs that merge."""
        return len(self.vocabulary.pairs)

    @property
    def pattern(self) -> str:
        """The pretokenizer's name."""
        return self.vocabulary.pattern

    @property
    def special_tokens(self) -> dict[str, int]:
        """Added tokens, special ones and others, and their ids, by id."""
        return dict(self.vocabulary.special)

    @property
    def eot_id(self) -> int:
        """Id of the token that ends a document. Raises ValueError when there is none."""
        for name in EOT_NAMES:
            if name in self.vocabulary.special:
                return self.vocabulary.special[name]
        raise ValueError(
            f"tokenizer: no end-of-text token among the special ones {list(self.vocabulary.special)}; "
            f"one of {', '.join(EOT_NAMES)} must be"
        )

    @cached_property
    def _skipped(self) -> frozenset[int]:
        return frozenset(i for text, i in self.vocabulary.special.items() if text not in self.vocabulary.plain)

    @cached_property
    def fingerprint(self) -> str:
        """128 bits of the content, in hex."""
        return self.vocabulary.fingerprint


AnyTokenizer = Tokenizer | SentencePieceTokenizer
"""What `Tokenizer.load` returns."""


def file_in(path: Path) -> Path:
    """The tokenizer's file in a folder, tokenizer.json before tokenizer.model; `path` itself when it is no folder."""
    if not path.is_dir():
        return path
    model = path / "tokenizer.model"
    return model if model.is_file() and not (path / "tokenizer.json").is_file() else path / "tokenizer.json"


def _column(texts: Any) -> TextColumn:
    if isinstance(texts, TextColumn):
        return texts
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return columns.from_arrow(texts)
    if isinstance(texts, str | bytes):
        raise TypeError("encode_batch: texts must be many; use encode(text) for one")
    return columns.from_texts(texts)
