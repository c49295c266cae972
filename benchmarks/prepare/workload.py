"""English text of a prepared lake as JSONL.zst of any size: the same for us and for the rival.

What exceeds the lake's own text are perturbed copies: in each copy other long words, a third of them, are replaced by
other words of the corpus, the same word by the same one. So a copy has the lake's lengths, lines and rules that it
breaks, but shares about a fifth of its word 5-grams with its original: it is no duplicate, and has words of its own.
"""

import io
import json
import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import zstandard

WORD = re.compile(r"[A-Za-z]{4,}")
ENGLISH = ("books", "encyclopedia", "speeches", "web")  # tables and manuals do not pass web pages' rules
PIECE = 6000  # characters; books are cut into the lengths of web pages


def english(corpus: Path) -> list[str]:
    """Texts of the English prose that a corpus stage has written, long ones cut at line ends; shuffled, seeded."""
    texts = []
    for path in parts(corpus):
        table = pq.read_table(path, columns=["text", "source"])
        for text, source in zip(table["text"].to_pylist(), table["source"].to_pylist(), strict=True):
            if source in ENGLISH and len(text) > 1000:
                texts += pieces(text)
    random.Random(0).shuffle(texts)
    return texts


def parts(stage: Path) -> list[Path]:
    """Document files of a stage, without its ledger's."""
    return sorted(path for path in (stage / "documents").rglob("*.parquet") if "." not in path.stem)


def pieces(text: str) -> list[str]:
    """A text in parts of at most PIECE characters and one line."""
    found, start = [], 0
    while len(text) - start > PIECE:
        end = min((e for e in (text.find("\n", start + PIECE), text.find(". ", start + PIECE) + 1) if e > 0), default=0)
        if not end:
            break
        found.append(text[start:end])
        start = end + 1
    return [*found, text[start:]]


def copies(texts: list[str]) -> Iterator[str]:
    """The texts, then copy after copy without end."""
    yield from texts
    vocabulary = sorted({w for text in texts[:2000] for w in WORD.findall(text)})
    for number in range(1, 1000):
        rng = random.Random(number)
        table = {w: rng.choice(vocabulary) if rng.random() < 1 / 3 else w for w in vocabulary}
        replace = partial(WORD.sub, lambda m, known=table: known.get(m[0], m[0]))
        for text in texts:
            yield replace(text)


def size(texts: list[str]) -> int:
    """Bytes of text."""
    return sum(len(text.encode()) for text in texts)


def write(folder: Path, documents: Iterator[str], num_bytes: int, file_bytes: int = 8_000_000) -> int:
    """Files of about `file_bytes` of text with about `num_bytes` in all; returns the bytes of text."""
    folder.mkdir(parents=True)
    written = number = 0
    while written < num_bytes:
        buffer, held = io.BytesIO(), 0
        with zstandard.ZstdCompressor(level=3).stream_writer(buffer, closefd=False) as packed:
            while held < file_bytes and written + held < num_bytes:
                text = next(documents)
                packed.write(json.dumps({"text": text}).encode() + b"\n")
                held += len(text.encode())
        (folder / f"{number:04d}.jsonl.zst").write_bytes(buffer.getvalue())
        written, number = written + held, number + 1
    return written
