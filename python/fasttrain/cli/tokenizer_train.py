"""`fasttrain tokenizer train`: from a recipe's lake, or from files of text."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasttrain.cli.options import Fresh, Out, Print, RecipeArgument, Set, Verbose, open_run

if TYPE_CHECKING:
    from fasttrain.tokenizer.tokenizer import Tokenizer

_EXAMPLES = """Train a tokenizer.

Without --text: on the training documents of the RECIPE's lake, by its table \\[tokenizer] (--set
tokenizer.weights=mixture and so on); unfinished stages before it are run first. The options below --text are for
--text alone.

With --text: on files, and without a recipe, for example
`tokenizer train -t web=web.txt -t code=code.parquet --weight web=0.7 --weight code=0.3 --vocab-size 32768 --vocab-size
16384 --out tok/tokenizer.json`.
"""


def add(commands: typer.Typer) -> None:
    """Register the command."""
    commands.command("train", help=_EXAMPLES)(train)


def train(
    context: typer.Context,
    recipe: RecipeArgument = "demo",
    out: Out = None,
    assignments: Set = None,
    show: Print = False,
    fresh: Fresh = False,
    verbose: Verbose = False,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            "-t",
            metavar="[NAME=]FILE",
            help="Text: a .parquet file's documents, another file's "
            "lines. Files of one NAME are one source; repeatable.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="bpe, superbpe (merges across words, too) or unigram.")] = "bpe",
    vocab_size: Annotated[
        list[int] | None,
        typer.Option(help="Tokens in all, 32768 if not given; repeatable: every size of one training, as files."),
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="How text is cut before merging; an unknown name lists them.")
    ] = "cl100k",
    tie_break: Annotated[str, typer.Option(help="hf or rustbpe: whose vocabulary comes out, byte for byte.")] = "hf",
    special: Annotated[
        list[str] | None, typer.Option(help="A special token, <|endoftext|> if none is given; repeatable.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option(help="A text that shall be one ordinary token, such as '->'; repeatable.")
    ] = None,
    whitespace_runs: Annotated[int, typer.Option(help="Runs of up to so many spaces are one token.")] = 1,
    split_digits: Annotated[bool, typer.Option(help="No token holds two digits.")] = False,
    min_frequency: Annotated[int, typer.Option(help="A pair that occurs less often does not merge.")] = 2,
    pad_to_multiple: Annotated[int, typer.Option(help="Reserved tokens up to a multiple of this.")] = 64,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="A source's share of the training, whatever its size; repeatable."),
    ] = None,
    max_words: Annotated[int, typer.Option(help="Distinct pretokens held; beyond it a part of the texts is taken.")] = 1
    << 24,
    subword_size: Annotated[
        int | None, typer.Option(help="superbpe: tokens of the first stage, nine tenths if not given.")
    ] = None,
    sample_mb: Annotated[
        int, typer.Option(help="superbpe's second stage, unigram: text that is looked at, in MB.")
    ] = 64,
) -> None:
    """The body; its help is _EXAMPLES."""
    _refuse_mixed(context, of_text=bool(text))
    if not text:
        return _of_recipe(recipe, out, assignments, show=show, fresh=fresh, verbose=verbose)
    from fasttrain.core.errors import ConfigError
    from fasttrain.tokenizer import learn_bpe
    from fasttrain.tokenizer.superbpe import train_superbpe
    from fasttrain.tokenizer.train_bpe import EOT, train_bpe_nested
    from fasttrain.tokenizer.train_unigram import train_unigram

    if model not in ("bpe", "superbpe", "unigram"):
        raise ConfigError(f"tokenizer train: --model must be bpe, superbpe or unigram, got {model!r}")
    sizes = list(dict.fromkeys(vocab_size or [32768]))
    if model != "bpe" and (len(sizes) > 1 or weight or tie_break != "hf" or given):
        raise ConfigError(
            f"tokenizer train: --model {model} takes one --vocab-size, and no --weight, --tie-break or --given"
        )
    sources = _sources(text)
    path = out or Path("unigram.model" if model == "unigram" else "tokenizer.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    specials = tuple(special or [EOT])
    everything = _Files([p for files in sources.values() for p in files])
    try:
        if model == "unigram":
            learnt = train_unigram(everything, vocab_size=sizes[0], special_tokens=specials, split_digits=split_digits,
                                   sample_bytes=sample_mb * 1_000_000, pad_to_multiple=pad_to_multiple)  # fmt: skip
            learnt.save(path)
            return typer.echo(f"tokenizer: {path}, trained on {learnt.sampled_bytes / 1e6:.1f} MB")
        learn_bpe.check_options(vocab_size=min(sizes), special_tokens=specials, tie_break=tie_break)
        if model == "superbpe":
            both = train_superbpe(
                everything, vocab_size=sizes[0], subword_size=subword_size or sizes[0] * 9 // 10, pattern=pattern,
                special_tokens=specials, min_frequency=min_frequency, sample_bytes=sample_mb * 1_000_000,
                pad_to_multiple=pad_to_multiple,
            )  # fmt: skip
            both.save(path)
            return typer.echo(f"tokenizer: {path}, {len(both.vocabulary.tokens)} tokens, {both.num_superwords} of them "
                              f"across words")  # fmt: skip
        tokenizers = train_bpe_nested(
            {name: _Files(files) for name, files in sources.items()},
            vocab_sizes=sizes,
            pattern=pattern,
            tie_break=tie_break,
            special_tokens=specials,
            given_tokens=given or (),
            whitespace_runs=whitespace_runs,
            split_digits=split_digits,
            min_frequency=min_frequency,
            pad_to_multiple=pad_to_multiple,
            weights=_weights(weight),
            max_words=max_words,
        )
    except ValueError as error:
        raise ConfigError(f"tokenizer train: {error}") from error
    _save(path, sizes, tokenizers)


_OF_RECIPE = ("recipe", "assignments", "show", "fresh", "verbose")
_OF_BOTH = ("out", "text")


def _refuse_mixed(context: typer.Context, *, of_text: bool) -> None:
    """An option that this way of training does not read is an error, not something left unsaid."""
    from fasttrain.core.errors import ConfigError

    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE" or parameter.name in _OF_BOTH:
            continue
        if (parameter.name in _OF_RECIPE) == of_text:
            name = parameter.opts[0] if parameter.param_type_name == "option" else str(parameter.name).upper()
            why = (
                "is for a recipe, not for --text" if of_text else "needs --text; a recipe has --set tokenizer.KEY=VALUE"
            )
            raise ConfigError(f"tokenizer train: {name} {why}")


def _of_recipe(
    recipe: str, out: Path | None, assignments: list[str] | None, *, show: bool, fresh: bool, verbose: bool
) -> None:
    from fasttrain.cli.prepare import run_prepare
    from fasttrain.prepare.journey import STAGES

    session = open_run(recipe, out=out, assignments=assignments, show=show, fresh=fresh, verbose=verbose)
    for name in STAGES[: STAGES.index("tokenizer") + 1]:
        run_prepare(session, only=name)
    if session.world.is_root:
        typer.echo(f"tokenizer: {session.folder.tokenizer}")


class _Files:
    """Paths that can be gone through again, each time with a bar of their bytes."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[Path]:
        from fasttrain.core.log import progress

        sizes = [path.stat().st_size for path in self._paths]
        with progress("tokenizer/read", sum(sizes) / 1e6, "MB") as bar:
            for path, size in zip(self._paths, sizes):
                yield path
                bar.advance(size / 1e6)


def _sources(text: list[str]) -> dict[str, list[Path]]:
    from fasttrain.core.errors import ConfigError

    found: dict[str, list[Path]] = {}
    for item in text:
        name, _, file = item.rpartition("=")
        path = Path(file)
        if not path.is_file():
            raise ConfigError(f"tokenizer train: --text {item}: no such file")
        found.setdefault(name, []).append(path)
    return found


def _weights(given: list[str] | None) -> dict[str, float] | None:
    from fasttrain.core.errors import ConfigError

    found: dict[str, float] = {}
    for item in given or ():
        name, _, share = item.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise ConfigError(f"tokenizer train: --weight must be NAME=SHARE, got {item!r}") from None
    return found or None


def _save(path: Path, sizes: list[int], tokenizers: "list[Tokenizer]") -> None:
    """The largest under its own name, the others with their size in it."""
    for size, tokenizer in zip(sizes, tokenizers):
        file = path if size == max(sizes) else path.with_name(f"{path.stem}-{size}{path.suffix}")
        tokenizer.save(file)
        note = "" if tokenizer.vocab_size >= size else f"; the text has no pairs for the {size} asked for"
        typer.echo(f"tokenizer: {file}, {tokenizer.vocab_size} tokens{note}")
