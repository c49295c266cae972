"""`fasttrain classifier`: train a quality or safety classifier, and see how well it does."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrain.cli.options import console
from fasttrain.core.errors import ConfigError

_Positive = Annotated[Path, typer.Option("--positive", help=".jsonl, .txt (.gz, .zst), .parquet, or a stage's folder.")]
_Negative = Annotated[Path, typer.Option("--negative", help="The same, of the other kind.")]
_HeldOut = Annotated[float, typer.Option("--held-out", help="Share of texts kept for the test, by their hash.")]
_Label = Annotated[str, typer.Option("--label", help="Label of the positive texts.")]


def add(app: typer.Typer) -> None:
    """Register the group."""
    group = typer.Typer(no_args_is_help=True, help="Train and test fastText classifiers for the filter stage.")
    group.command("train")(train)
    group.command("test")(measure)
    app.add_typer(group, name="classifier")


def train(
    positive: _Positive,
    negative: _Negative,
    out: Annotated[Path, typer.Option("--out", help="The model, a fastText .bin.")],
    held_out: _HeldOut = 0.1,
    label: _Label = "__label__hq",
    other: Annotated[str, typer.Option("--other-label", help="Label of the negative texts.")] = "__label__lq",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of dim, epochs, rate, word_ngrams, bucket, seed, ...")
    ] = None,
) -> None:
    """Train a classifier of two kinds of text; the same inputs and settings give the same bytes."""
    import numpy as np

    from fasttrain.filter import fasttext_train
    from fasttrain.filter.classifier_data import chosen, split

    config = _config(assignments or [])
    texts, is_positive = _examples(positive, negative)
    kept = ~split(texts, _share(held_out))
    labels = np.where(is_positive, 0, 1).astype(np.int32)[kept]
    if not (labels == 0).any() or not (labels == 1).any():
        raise ConfigError("classifier train: both kinds need texts that are not held out; give more texts")

    def progress(epoch: int, done: int, loss: float) -> None:
        print(f"\repoch {epoch + 1}/{config.epochs}  {done:,} texts  loss {loss:.4f}", end="", file=sys.stderr)

    fasttext_train.train(chosen(texts, kept), labels, (label, other), config, out, progress=progress)
    print(file=sys.stderr)
    if (~kept).any():
        _tell(out, label, chosen(texts, ~kept), is_positive[~kept])
    console().print(f"{out}  ({out.stat().st_size:,} bytes)")


def measure(
    model: Annotated[Path, typer.Argument(help="A supervised fastText file.")],
    positive: _Positive,
    negative: _Negative,
    held_out: _HeldOut = 0.1,
    label: _Label = "__label__hq",
) -> None:
    """Precision and recall of a classifier at thresholds, on the texts that `train` holds out (1: on all of them)."""
    from fasttrain.filter.classifier_data import chosen, split

    texts, is_positive = _examples(positive, negative)
    which = split(texts, _share(held_out))
    _tell(model, label, chosen(texts, which), is_positive[which])


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"classifier: --held-out must be between 0 and 1, got {value}")
    return value


def _config(assignments: list[str]) -> Any:
    from fasttrain.filter.fasttext_train import TrainConfig

    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        try:
            settings[key] = float(value) if "." in value or "e" in value else int(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"classifier: --set must be KEY=NUMBER, got {assignment!r}")
    return TrainConfig.load(settings)


def _examples(positive: Path, negative: Path) -> tuple[Any, Any]:
    import numpy as np

    from fasttrain.filter.classifier_data import read_texts
    from fasttrain.text import columns

    kinds = [list(read_texts(positive)), list(read_texts(negative))]
    return columns.from_texts(kinds[0] + kinds[1]), np.repeat([True, False], [len(k) for k in kinds])


def _tell(path: Path, label: str, texts: Any, positive: Any) -> None:
    from fasttrain.filter.classifier import open_model, score
    from fasttrain.filter.classifier_data import auc, precision_recall

    if not positive.any() or positive.all():
        raise ConfigError("classifier: the held-out texts must be of both kinds; hold out more, or give more texts")
    scores = score(open_model("classifier", path, label), texts, label, threads=1)
    out = console()
    out.print(f"held out: {len(texts):,} texts, {int(positive.sum()):,} positive; AUC {auc(scores, positive):.4f}")
    for threshold in (0.1, 0.25, 0.5, 0.75, 0.9):
        precision, recall = precision_recall(scores, positive, threshold)
        out.print(f"threshold {threshold:.2f}  precision {precision:.4f}  recall {recall:.4f}")
