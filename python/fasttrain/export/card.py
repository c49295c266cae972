"""The model card: what the model is, what it was trained on by source and licence, and how well it predicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasttrain.audit.trained import trained_on
from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import num_params

_FRONT_MATTER = "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- fasttrain\n- base-model\n---"
_SHEET = """

The [datasheet](datasheet.md) of the corpus ([as data](datasheet.json)) says where it comes from, under which licences,
what was kept out, by which rules and on whose request."""
_HOW = """## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = AutoModelForCausalLM.from_pretrained("PATH")
ids = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=50)[0]))
```

This is a base model: it continues text. It was not tuned to follow instructions, to be truthful or to be safe."""


def model_card(model: ModelConfig, meta: dict[str, Any], run: RunFolder | None = None) -> str:
    """README.md of an export; with a run folder also its data and its scores."""
    params = num_params(model)
    parts = [
        _FRONT_MATTER,
        f"# {_name(run)}",
        f"A decoder-only language model of {params.total:,} parameters ({params.non_embedding:,} without embeddings), "
        "pretrained with fasttrain.",
        _table(("", ""), [
            ("layers", str(model.num_layers)), ("width", str(model.dim)), ("heads", str(model.num_heads)),
            ("key and value heads", str(model.Hkv)), ("feed-forward width", str(model.F)),
            ("vocabulary", f"{model.vocab_size:,}"), ("context", f"{model.max_seq_len:,} tokens"),
            ("training steps", f"{meta['step']:,}" if "step" in meta else "unknown"),
            ("training tokens", f"{meta['tokens']:,}" if "tokens" in meta else "unknown"),
        ]),
    ]  # fmt: skip
    if run is not None:
        parts += [_data(run), _scores(run)]
    return "\n\n".join([p for p in parts if p] + [_HOW]) + "\n"


def _data(run: RunFolder) -> str:
    try:
        rows = trained_on(run)
    except FormatError:  # shards may have been removed after training; the card then says so
        return "## Training data\n\nThe token shards are no longer in the run folder, so the data is not listed."
    lines = [
        (_cell(r.source), _cell(r.licence), f"{r.documents:,}", f"{r.num_bytes:,}", f"{r.tokens:,}",
         "" if r.epochs is None else f"{r.epochs:.2f}")
        for r in rows
    ]  # fmt: skip
    made = _table(("source", "licence", "documents", "bytes", "tokens", "epochs"), lines)
    return f"## Training data\n\n{made}{_SHEET if datasheet(run) else ''}"


def datasheet(run: RunFolder) -> list[Path]:
    """Files of the corpus's datasheet, to lie beside the card that links to them; none when one is missing."""
    paths = [run.root / name for name in ("datasheet.md", "datasheet.json")]
    return paths if all(path.is_file() for path in paths) else []


def _scores(run: RunFolder) -> str:
    path = run.eval / "eval.json"
    if not path.exists():
        return ""
    data = atomic.read_json(path)
    names = list(data["baselines"])
    lines = [
        (_cell(source), f"{score['bpb']:.4f}", "" if score["perplexity"] is None else f"{score['perplexity']:.2f}",
         *(f"{data['baselines'][n][source]['bpb']:.4f}" for n in names))
        for source, score in data["scores"].items()
    ]  # fmt: skip
    text = (
        "## Evaluation\n\nBits per byte of held-out documents (lower is better), beside baselines on the same text. "
        f"Probe set {data['probe']['fingerprint']}."
    )
    return (
        text
        + "\n\n"
        + _table(("source", "bits per byte", "perplexity", *(f"{n}, bits per byte" for n in names)), lines)
    )


def _name(run: RunFolder | None) -> str:
    if run is None:
        return "A fasttrain model"
    recipe = run.root / "recipe.json"
    name = atomic.read_json(recipe).get("name") if recipe.exists() else None
    return str(name or run.root.resolve().name)


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    return "\n".join([head, *(f"| {' | '.join(row)} |" for row in rows)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
