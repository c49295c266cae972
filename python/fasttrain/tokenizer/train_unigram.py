"""Unigram language-model vocabularies, trained by the sentencepiece library on a sample of the texts.

Nothing is normalised (identity, no dummy prefix, white space kept as it is) and bytes fall back, so that every text has
pieces and decodes to itself. The .model is sentencepiece's own file. Source: Kudo 2018, arXiv:1804.10959.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.read_texts import Texts, sample
from fasttrain.tokenizer.train_bpe import EOT

_LINE_BYTES = 4096  # sentencepiece trains on sentences and leaves out longer ones


@dataclass(frozen=True)
class Unigram:
    """A trained model."""

    model: bytes
    """The content of the .model file."""
    sampled_bytes: int
    """Text that it was trained on."""

    def save(self, path: str | Path) -> None:
        """Write the .model file, whole or not at all."""
        atomic.write_bytes(Path(path), self.model)


def train_unigram(
    texts: Texts,
    *,
    vocab_size: int,
    special_tokens: Sequence[str] = (EOT,),
    given_tokens: Sequence[str] = (),
    split_digits: bool = True,
    sample_bytes: int = 16 << 20,
    pad_to_multiple: int = 1,
    threads: int | None = None,
) -> Unigram:
    """Train on about `sample_bytes` of the texts, chosen by their hashes whatever their order.

    Ids: <unk> 0, special tokens, given tokens, 256 bytes, pieces by falling score.

    Args:
        texts: as in `train_bpe`, but readable more than once: a list, a column or Paths.
        vocab_size: pieces in all; rounded up to `pad_to_multiple` before training, so that none is wasted.
        special_tokens: control symbols: text never gives them. given_tokens: always one piece where text holds them.
        split_digits: each digit is a piece of its own.
        threads: of sentencepiece; its result depends on them in the last bits, so 1 when None.
    Raises: ConfigError: sentencepiece is not installed. ValueError: no text, or a vocabulary that it cannot fill.
    Cost: sentencepiece's: minutes and gigabytes for 50 MB, hence the sample.
    """
    try:
        import sentencepiece
    except ImportError:
        raise ConfigError("unigram: needs the sentencepiece package; pip install sentencepiece") from None
    if isinstance(texts, Iterator):
        raise ValueError("unigram: texts must be a list, column or Paths, which can be read again")
    sampled = [column for column in sample(texts, sample_bytes, threads=threads) if column.num_bytes]
    if not sampled:
        raise ValueError("unigram: there must be text to train on, got none")
    size = vocab_size + -vocab_size % pad_to_multiple
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(sampled),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            character_coverage=1.0,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            split_digits=split_digits,
            control_symbols=list(special_tokens),
            user_defined_symbols=["\n", *given_tokens],
            max_sentence_length=2 * _LINE_BYTES,
            train_extremely_large_corpus=True,
            num_threads=threads or 1,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as e:
        raise ValueError(f"unigram: sentencepiece could not train {size} pieces: {e}") from e
    return Unigram(model.getvalue(), sum(column.num_bytes for column in sampled))


def _sentences(sampled: Sequence[TextColumn]) -> Iterator[str]:
    """Lines of the texts in the order of their bytes; long ones cut, as sentencepiece would leave them out."""
    texts = sorted(column[n] for column in sampled for n in range(len(column)))
    for text in texts:
        for line in text.decode("utf-8", "replace").replace("\0", "").splitlines():
            for at in range(0, len(line), _LINE_BYTES // 4):
                yield line[at : at + _LINE_BYTES // 4]
