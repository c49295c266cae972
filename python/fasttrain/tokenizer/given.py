"""A tokenizer that a recipe takes as it is instead of training one."""

from pathlib import Path

from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic
from fasttrain.tokenizer.json_pieces import JsonPieceTokenizer
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.tokenizer import Tokenizer, file_in


def fingerprint(path: str, base: Path) -> str | None:
    """SHA-256 of the file that `tokenizer.path` names; None for an empty path. Raises ConfigError: no such file."""
    return atomic.sha256(_file(base / path)) if path else None


def take(path: Path, folder: Path, vocab_size: int, end: str) -> None:
    """Write the tokenizer at `path` into `folder`, as tokenizer.json or tokenizer.model; the other one is removed.

    Raises: ConfigError: no such file, another size than the recipe says, or no token to end documents with: `end`, of
        SentencePiece's vocabularies </s>.
    """
    file = _file(path)
    tokenizer = Tokenizer.load(file)
    if tokenizer.vocab_size != vocab_size:
        raise ConfigError(
            f"tokenizer.vocab_size: {file} has {tokenizer.vocab_size} tokens, got {vocab_size}; set it to that"
        )
    is_pieces = isinstance(tokenizer, SentencePieceTokenizer)
    if is_pieces:
        try:
            _ = tokenizer.eot_id
        except ValueError as error:
            raise ConfigError(f"tokenizer.path: {file}: {error}") from None
    elif end not in tokenizer.special_tokens:
        raise ConfigError(
            f"tokenizer.path: {file} must hold the special token {end!r}, got {list(tokenizer.special_tokens)[:8]}"
        )
    is_model = is_pieces and not isinstance(tokenizer, JsonPieceTokenizer)
    out = folder / f"tokenizer.{'model' if is_model else 'json'}"
    tokenizer.save(out)
    out.with_suffix(".json" if is_model else ".model").unlink(missing_ok=True)


def _file(path: Path) -> Path:
    file = file_in(path)
    if not file.is_file():
        raise ConfigError(
            f"tokenizer.path: {file}: no such file; give a tokenizer.json, a SentencePiece .model or a folder that "
            "holds tokenizer.json or tokenizer.model"
        )
    return file
