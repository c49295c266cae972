"""One training in a process of its own: python train_job.py TRAINER PATTERN EXPRESSION VOCAB TEXT ANSWER.

TEXT holds documents, each ended by a zero byte (cl100k), or lines (gpt2). One thread. Prints a JSON line with CPU
seconds of the training alone and the peak of the whole process's memory; ANSWER gets the tokens that were learnt, in
order, as hexadecimal text.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# A rival's process imports nothing of fasttrain before it has been measured: its peak is its own.


def _documents(path: str) -> Iterator[bytes]:
    rest = b""
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            *whole, rest = (rest + block).split(b"\0")
            yield from whole


def _of_merges(merges: list[tuple[str, str]]) -> list[str]:
    from fasttrain.tokenizer import byte_level

    return [(byte_level.to_bytes(a + b) or b"").hex() for a, b in merges]


def _ours(pattern: str, _: str, size: int, path: str, tie_break: str) -> Callable[[], list[str]]:
    from fasttrain.tokenizer import train_bpe

    texts = [Path(path)] if pattern == "gpt2" else _documents(path)
    trained = train_bpe(
        texts, vocab_size=size, pattern=pattern, tie_break=tie_break, special_tokens=(), threads=1
    ).vocabulary
    return lambda: [t.hex() for t in trained.tokens[256:]]


def _rustbpe(_: str, expression: str, size: int, path: str) -> Callable[[], list[str]]:
    import rustbpe

    trained = rustbpe.Tokenizer()
    trained.train_from_iterator((d.decode() for d in _documents(path)), size, pattern=expression)
    return lambda: [bytes(t).hex() for t, _ in trained.get_mergeable_ranks()[256:]]


def _gigabpe(pattern: str, _: str, size: int, path: str) -> Callable[[], list[str]]:
    import gigabpe

    assert pattern == "gpt2"
    _, merges = gigabpe.train_bpe([path], size, special_tokens=[], pretokenizer="bytelevel", threads=1)
    return lambda: _of_merges(merges)


def _tokenizers(pattern: str, expression: str, size: int, path: str) -> Callable[[], list[str]]:
    import tokenizers as hf

    trained = hf.Tokenizer(hf.models.BPE())
    split = hf.pre_tokenizers.Split(hf.Regex(expression), "isolated")
    step = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern == "gpt2")
    trained.pre_tokenizer = step if pattern == "gpt2" else hf.pre_tokenizers.Sequence([split, step])
    alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
    trainer = hf.trainers.BpeTrainer(vocab_size=size, special_tokens=[], initial_alphabet=alphabet, show_progress=False)
    if pattern == "gpt2":
        trained.train([path], trainer)
    else:
        trained.train_from_iterator((d.decode() for d in _documents(path)), trainer)
    return lambda: _of_merges(json.loads(trained.to_str())["model"]["merges"])


def _peak_mb() -> float:
    # Of this program alone: getrusage's peak also holds what the process was before it became this program.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    name, pattern, expression, size, path, answer = sys.argv[1:]
    trainers = {
        "fasttrain": lambda *a: _ours(*a, tie_break="hf"),
        "fasttrain, ties as rustbpe": lambda *a: _ours(*a, tie_break="rustbpe"),
        "rustbpe": _rustbpe,
        "gigabpe": _gigabpe,
        "tokenizers": _tokenizers,
    }
    if name.startswith("fasttrain"):
        import fasttrain.tokenizer  # noqa: F401
    start = time.process_time()
    tokens = trainers[name](pattern, expression, int(size), path)
    cpu, peak = time.process_time() - start, _peak_mb()
    Path(answer).write_text(json.dumps(tokens()))
    print(json.dumps({"cpu_s": cpu, "peak_mb": peak}))
