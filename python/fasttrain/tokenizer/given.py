"""A tokenizer that a recipe takes as it is instead of training one."""

from pathlib import Path

from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic
from fasttrain.tokenizer.tokenizer import Tokenizer


def fingerprint(path: str, base: Path) -> str | None:
    """SHA-256 of the file that `tokenizer.path` names; None for an empty path. Raises ConfigError: no such file."""
    return atomic.sha256(_file(base / path)) if path else None


def take(path: Path, out: Path, vocab_size: int, end: str) -> None:
    """Write the tokenizer at `path` to `out`.

    Raises: ConfigError: no such file, another size than the recipe says, or no `end` token to end documents with.
    """
    file = _file(path)
    tokenizer = Tokenizer.load(file)
    if tokenizer.vocab_size != vocab_size:
        raise ConfigError(
            f"tokenizer.vocab_size: {file} has {tokenizer.vocab_size} tokens, got {vocab_size}; set it to that"
        )
    if end not in tokenizer.special_tokens:
        raise ConfigError(
            f"tokenizer.path: {file} must hold the special token {end!r}, got {list(tokenizer.special_tokens)[:8]}"
        )
    tokenizer.save(out)


def _file(path: Path) -> Path:
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"tokenizer.path: {file}: no such file; give a tokenizer.json or a folder that holds one")
    return file
