"""The datasheet of a finished corpus: where it comes from, what was done to it, what is left; as data and as Markdown.

Every number comes from the ledger, the documents and the manifests of the run folder, none from a log. The questions
are those of Gebru et al. 2018 (Datasheets for Datasets, arXiv:1803.09010) that a machine can answer.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from fasttrain.audit.ledger import STAGES, Ledger
from fasttrain.core.config import Settings, fingerprint
from fasttrain.core.errors import FormatError
from fasttrain.corpus.removals import REASON
from fasttrain.formats import atomic, manifest, shards
from fasttrain.formats.manifest import Manifest
from fasttrain.formats.run_folder import RunFolder

MAX_LANGUAGES = 40
_ISO = "%Y-%m-%dT%H:%M:%SZ"
PREPARE = (*STAGES, "tokenizer", "shards", "mixture")


class Source(Settings):
    """One source, from its files to its tokens."""

    read: int
    """Documents that were read (those that the policy kept out are not among them)."""
    read_bytes: int
    """UTF-8 bytes of their text."""
    kept: int
    """Documents of the finished corpus, before its probe set is cut off."""
    kept_bytes: int
    """UTF-8 bytes of their text."""
    train_tokens: int
    """Tokens in the training shards, each document's end token included."""
    probe_tokens: int
    """Tokens in the probe shards."""
    licences: dict[str, int]
    """Documents of the finished corpus by licence."""
    first_date: str | None
    """Earliest timestamp (ISO 8601, UTC); null when no document has one."""
    last_date: str | None
    """Latest timestamp."""
    handed_on: dict[str, int]
    """Documents that each stage handed on."""
    quarantined: dict[str, int]
    """Records that could not be read, by what was wrong."""
    policy: dict[str, int]
    """Documents (of a denied source: files) that the policy kept out or marked, by verdict and licence."""
    removed_on_request: int
    """Documents that a removal request keeps out (`audit forget`)."""


class Stage(Settings):
    """What one stage did, and by which rules."""

    kept: int
    """Documents that went on."""
    dropped: dict[str, int]
    """Documents that did not, by reason."""
    edited: dict[str, int]
    """Documents that were changed and kept, by reason."""
    config_fingerprint: str
    """Of its settings."""
    input_fingerprint: str
    """Of what it read."""
    content_fingerprint: str
    """Of what it wrote: equal fingerprints mean equal bytes."""
    versions: dict[str, str]
    """Of the software."""
    config: dict[str, Any]
    """Its settings."""


class Datasheet(Settings):
    """Everything that is known of a finished corpus."""

    format: int = 1
    """Version of this layout."""
    name: str
    """The recipe's name."""
    recipe_fingerprint: str
    """Of the recipe, resolved."""
    sources: dict[str, Source]
    """By name."""
    stages: dict[str, Stage]
    """In the order of the flow."""
    languages: dict[str, int]
    """Documents of the finished corpus by language, the most frequent first; "" is unnamed."""
    personal_data: dict[str, int]
    """Findings that were masked, by kind; the data itself is nowhere."""
    duplicates: dict[str, int]
    """Documents removed as copies, by kind."""
    benchmarks: dict[str, dict[str, Any]]
    """What was looked for, found and removed, by benchmark."""
    tokenizer: dict[str, Any]
    """Size and content of the vocabulary."""
    limits: tuple[str, ...] = Field(min_length=1)
    """What the numbers do not say."""


LIMITS = (
    "Licences are what sources and records state; nobody has verified them.",
    "Near duplicates below the proposal curve of the banding can remain (dedup's S-curve in the report).",
    "Benchmark items that are paraphrased, translated or shorter than the search's n-grams are not found.",
    "Personal data is found by pattern and checksum: names and postal addresses are not looked for.",
    "Languages are named from the beginning of each text by a classifier.",
)


def build(run: RunFolder) -> Datasheet:
    """Gather the datasheet of a run whose token shards are finished.

    Raises: FormatError: no run folder, or a stage is not finished.
    Cost: one scan of the documents' small columns and of the ledger.
    """
    manifests = {name: manifest.read(run.stage(name)) for name in PREPARE if (run.stage(name) / manifest.NAME).exists()}
    if not shards.open_shards(run.shards / "train"):
        raise FormatError(f"audit: {run.root}: no finished token shards; run `fasttrain prepare` first")
    recipe = atomic.read_json(run.root / "recipe.json")
    with Ledger(run) as ledger:
        edits = _counts(ledger, "SELECT stage, reason, count(*) FROM ledger WHERE decision = 'edited' GROUP BY ALL")
        return Datasheet(
            name=str(recipe.get("name", run.root.name)),
            recipe_fingerprint=fingerprint(recipe),
            sources=_sources(run, ledger, manifests),
            stages={name: _stage(m, edits.get(name, {})) for name, m in manifests.items()},
            languages=_languages(ledger),
            personal_data=_personal_data(manifests),
            duplicates=dict(manifests["dedup"].report.dropped) if "dedup" in manifests else {},
            benchmarks=_benchmarks(manifests),
            tokenizer=_tokenizer(manifests),
            limits=LIMITS,
        )


def write(run: RunFolder) -> Datasheet:
    """Write datasheet.json and datasheet.md into the run folder."""
    sheet = build(run)
    atomic.write_json(run.root / "datasheet.json", sheet.to_dict())
    with atomic.replacing(run.root / "datasheet.md") as path:
        path.write_text(markdown(sheet), encoding="utf-8")
    return sheet


def _last(ledger: Ledger) -> str:
    """The stage that holds the finished corpus; the split cuts a document in two and removes none."""
    return [name for name in ledger.stages() if name != "split"][-1]


def _counts(ledger: Ledger, sql: str, parameters: Sequence[Any] = ()) -> dict[str, dict[str, int]]:
    """Rows (a, b, count) as {a: {b: count}}, b in order."""
    out: dict[str, dict[str, int]] = {}
    for a, b, count in sorted(ledger.query(sql, parameters).rows):
        out.setdefault(a, {})[b] = count
    return out


def _sources(run: RunFolder, ledger: Ledger, manifests: dict[str, Manifest]) -> dict[str, Source]:
    last = _last(ledger)
    handed = _counts(ledger, "SELECT source, stage, count(*) FROM documents GROUP BY ALL")
    licences = _counts(ledger, "SELECT source, licence, count(*) FROM documents WHERE stage = ? GROUP BY ALL", [last])
    reasons = _counts(
        ledger,
        "SELECT source, reason, count(*) FROM ledger WHERE stage = 'corpus' AND reason <> '' GROUP BY ALL",
    )
    # As text: DuckDB gives zoned times as Python objects only with a package of its own.
    dates = {
        source: (first, latest)
        for source, first, latest in ledger.query(
            f"SELECT source, strftime(min(timestamp) AT TIME ZONE 'UTC', '{_ISO}'), "
            f"strftime(max(timestamp) AT TIME ZONE 'UTC', '{_ISO}') FROM documents WHERE stage = ? GROUP BY 1",
            [last],
        ).rows
    }
    opened = {phase: shards.open_shards(run.shards / phase) for phase in ("train", "probe")}
    tokens = {phase: {name: shard.num_tokens for name, shard in found.items()} for phase, found in opened.items()}
    read_bytes = _bytes(ledger, handed, "corpus", _read_by(ledger, "filter"))
    in_shards = {
        name: (sum(s.num_docs for s in both), sum(s.num_bytes for s in both))
        for name in {*opened["train"], *opened["probe"]}
        if (both := [found[name] for found in opened.values() if name in found])
    }
    kept_bytes = _bytes(ledger, handed, last, in_shards if last == "split" else {})
    out = {}
    for source in sorted({*handed, *reasons}):
        first, latest = dates.get(source, (None, None))
        why = reasons.get(source, {})
        steps = handed.get(source, {})
        out[source] = Source(
            read=steps.get("corpus", 0),
            read_bytes=read_bytes.get(source, 0),
            kept=steps.get(last, 0),
            kept_bytes=kept_bytes.get(source, 0),
            train_tokens=tokens["train"].get(source, 0),
            probe_tokens=tokens["probe"].get(source, 0),
            licences=licences.get(source, {}),
            first_date=first,
            last_date=latest,
            handed_on={stage: steps.get(stage, 0) for stage in STAGES if stage in manifests and stage != "split"},
            quarantined={k.removeprefix("quarantine:"): v for k, v in why.items() if k.startswith("quarantine:")},
            policy={k.removeprefix("policy:"): v for k, v in why.items() if k.startswith("policy:")},
            removed_on_request=why.get(REASON, 0),
        )
    return out


def _read_by(ledger: Ledger, stage: str) -> dict[str, tuple[int, int]]:
    """Documents and bytes of each source that a stage read, by its ledger: one row a document."""
    sql = "SELECT source, count(*), sum(bytes)::BIGINT FROM ledger WHERE stage = ? GROUP BY 1"
    return {source: (count, size) for source, count, size in ledger.query(sql, [stage]).rows}


def _bytes(
    ledger: Ledger, handed: dict[str, dict[str, int]], stage: str, known: dict[str, tuple[int, int]]
) -> dict[str, int]:
    """UTF-8 bytes of each source's documents that a stage handed on. The texts are read only where `known` (documents
    and bytes that a later stage counted) does not speak of all of them: they are most of what a corpus weighs."""
    counts = {source: steps[stage] for source, steps in handed.items() if stage in steps}
    if all(known.get(source, (-1, 0))[0] == count for source, count in counts.items()):
        return {source: known[source][1] for source in counts}
    sql = "SELECT source, sum(bytes)::BIGINT FROM documents WHERE stage = ? GROUP BY 1"
    return dict(ledger.query(sql, [stage]).rows)


def _stage(m: Manifest, edited: dict[str, int]) -> Stage:
    return Stage(
        kept=m.report.kept,
        dropped=dict(sorted(m.report.dropped.items(), key=lambda kv: (-kv[1], kv[0]))),
        edited=edited,
        config_fingerprint=m.config_fingerprint,
        input_fingerprint=m.input_fingerprint,
        content_fingerprint=m.content_fingerprint,
        versions=m.versions,
        config=m.config,
    )


def _languages(ledger: Ledger) -> dict[str, int]:
    rows = ledger.query(
        "SELECT language, count(*) AS n FROM documents WHERE stage = ? GROUP BY 1 ORDER BY n DESC, 1",
        [_last(ledger)],
    ).rows
    return dict(rows)


def _personal_data(manifests: dict[str, Manifest]) -> dict[str, int]:
    counts = manifests["filter"].report.counts if "filter" in manifests else {}
    return {k.removeprefix("masked:"): v for k, v in sorted(counts.items()) if k.startswith("masked:")}


def _benchmarks(manifests: dict[str, Manifest]) -> dict[str, dict[str, Any]]:
    found = manifests["decontam"].extra.get("benchmarks", {}) if "decontam" in manifests else {}
    plain = (int, float, str, bool)
    return {name: {k: v for k, v in b.items() if isinstance(v, plain)} for name, b in found.items()}


def _tokenizer(manifests: dict[str, Manifest]) -> dict[str, Any]:
    if "tokenizer" not in manifests:
        return {}
    m = manifests["tokenizer"]
    files = {f.path: f.sha256 for f in m.files if f.path.endswith(("tokenizer.json", "tokenizer.model"))}
    return {"vocab_size": m.config.get("vocab_size"), "sha256": next(iter(files.values()), None)}


def markdown(sheet: Datasheet) -> str:
    """The datasheet for people."""
    sources = sheet.sources.values()
    kept, size, tokens = (sum(getattr(s, k) for s in sources) for k in ("kept", "kept_bytes", "train_tokens"))
    parts = [
        f"# Datasheet: {sheet.name}",
        f"{kept:,} documents, {size:,} bytes of text, {tokens:,} training tokens from {len(sheet.sources)} sources. "
        f"Recipe {sheet.recipe_fingerprint}. Every number comes from the run's ledger and manifests.",
        "## Sources",
        _table(
            ("source", "licences", "read", "kept", "bytes kept", "training tokens", "probe tokens", "dates"),
            [
                (name, ", ".join(s.licences) or "none kept", f"{s.read:,}", f"{s.kept:,}", f"{s.kept_bytes:,}",
                 f"{s.train_tokens:,}", f"{s.probe_tokens:,}", _dates(s))
                for name, s in sheet.sources.items()
            ],
        ),
        "## Licences and terms",
        _policy(sheet),
        "## Removal requests",
        _removed(sheet),
        "## What each stage did",
        _table(
            ("stage", "kept", "dropped", "edited", "settings", "content"),
            [
                (name, f"{s.kept:,}", f"{sum(s.dropped.values()):,}", f"{sum(s.edited.values()):,}",
                 f"`{s.config_fingerprint[:12]}`", f"`{s.content_fingerprint[:12]}`")
                for name, s in sheet.stages.items()
            ],
        ),
        "Documents that each stage handed on, by source:",
        _table(
            ("source", *next(iter(sources)).handed_on) if sheet.sources else ("source",),
            [(name, *(f"{n:,}" for n in s.handed_on.values())) for name, s in sheet.sources.items()],
        ),
        "Why documents went:",
        _table(
            ("stage", "reason", "documents"),
            [(n, r, f"{c:,}") for n, s in sheet.stages.items() for r, c in list(s.dropped.items())[:20]],
        ),
        "## Languages",
        _table(("language", "documents"), _top(sheet.languages)),
        "## Personal data",
        "Masked in the documents that stay; the ledger holds kinds and counts, never the data.",
        _table(("kind", "masked"), [(k, f"{v:,}") for k, v in sheet.personal_data.items()]),
        "## Duplicates",
        _table(("kind", "documents removed"), [(k, f"{v:,}") for k, v in sheet.duplicates.items()]),
        "## Benchmarks",
        *_benchmark_tables(sheet),
        "## Known limits",
        "\n".join(f"- {limit}" for limit in sheet.limits),
        "## How to make it again",
        "`recipe.json` beside this file is the recipe, resolved. The same recipe on the same lake gives the content "
        "fingerprints above on any number of ranks: `fasttrain prepare RECIPE`.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _policy(sheet: Datasheet) -> str:
    config = sheet.stages["corpus"].config.get("policy", {}) if "corpus" in sheet.stages else {}
    rows = [(name, k, f"{v:,}") for name, s in sheet.sources.items() for k, v in s.policy.items()]
    lists = [f"{key}: {', '.join(config[key])}" for key in ("allow", "review", "deny") if config.get(key)]
    lists.append(f"other licences: {config.get('other', 'allow')}; unknown ones: {config.get('unknown', 'allow')}")
    decided = [f"source {s['source']}: {s['verdict']} ({s['reason']})" for s in config.get("sources", [])]
    text = "\n".join(f"- {line}" for line in (*lists, *decided))
    held = _table(("source", "verdict and licence", "documents"), rows) if rows else "Nothing was kept out."
    return f"{text}\n\n{held}"


def _removed(sheet: Datasheet) -> str:
    rows = [(name, f"{s.removed_on_request:,}") for name, s in sheet.sources.items() if s.removed_on_request]
    return _table(("source", "documents kept out"), rows) if rows else "None has been carried out."


def _benchmark_tables(sheet: Datasheet) -> list[str]:
    if not sheet.benchmarks:
        return ["None was looked for."]
    keys = list(dict.fromkeys(k for b in sheet.benchmarks.values() for k in b))
    rows = [(name, *(str(b.get(k, "")) for k in keys)) for name, b in sheet.benchmarks.items()]
    return [_table(("benchmark", *(k.replace("_", " ") for k in keys)), rows)]


def _top(counts: dict[str, int]) -> list[tuple[str, str]]:
    items = list(counts.items())
    rows = [(name or "not named", f"{n:,}") for name, n in items[:MAX_LANGUAGES]]
    if rest := items[MAX_LANGUAGES:]:
        rows.append((f"{len(rest)} others", f"{sum(n for _, n in rest):,}"))
    return rows


def _dates(source: Source) -> str:
    if source.first_date is None or source.last_date is None:
        return "none stated"
    first, last = source.first_date[:10], source.last_date[:10]
    return first if first == last else f"{first} to {last}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "None."
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *escaped))
