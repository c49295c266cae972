import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.cli import options, recipe
from fasttrain.cli.options import to_toml
from fasttrain.cli.recipe import Recipe
from fasttrain.cli.run import run_session
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError
from fasttrain.formats.run_folder import RunFolder

leaves = (
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = leaves | st.lists(leaves, max_size=3)
tables = st.recursive(
    st.dictionaries(st.text(max_size=5), values, max_size=4),
    lambda inner: st.dictionaries(
        st.text(max_size=5), values | inner | st.lists(inner, min_size=1, max_size=3), max_size=4
    ),
    max_leaves=8,
)


@given(tables)
def test_printed_toml_reads_back(data):
    assert tomllib.loads(to_toml(data)) == data


@pytest.mark.parametrize("name", recipe.shipped())
def test_shipped_recipes_resolve_and_print_and_read_back(name):
    resolved, _ = recipe.read(name)
    assert Recipe.load(tomllib.loads(to_toml(resolved.to_dict()))) == resolved
    assert resolved.model.vocab_size == resolved.tokenizer.vocab_size
    assert resolved.batch.seed == resolved.seed


def test_dedup_and_passages_prefer_the_sources_that_the_corpus_prefers():
    resolved, _ = recipe.read("lake")
    stated = {s.name: s.priority for s in resolved.corpus.sources if s.priority}
    assert len(stated) > 5
    assert resolved.dedup.priority == resolved.passages.priority == stated
    resolved, _ = recipe.read("lake", ["dedup.priority.web=9"])
    assert resolved.dedup.priority == resolved.passages.priority == {"web": 9}
    resolved, _ = recipe.read("lake", ["passages.priority.web=9"])
    assert (resolved.dedup.priority, resolved.passages.priority) == (stated, {"web": 9})


def test_demo_and_lake_ship():
    assert {"demo", "lake"} <= set(recipe.shipped())


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["model.vocab_size=7"], "model.vocab_size: must be tokenizer.vocab_size = .*, got 7; leave it out"),
        (["optim.learning_rate=1"], "optim.learning_rate: unknown key"),
        (["modle.dim=1"], "modle: unknown key; did you mean 'model'?"),
        (["model.num_heads=7"], "model"),
        (["batch.seq_len=0"], "batch.seq_len: .*greater than or equal to"),
        (["corpus.sources=[]"], "corpus"),
    ],
)
def test_a_wrong_key_is_named(assignments, words):
    with pytest.raises(ConfigError, match=words):
        recipe.read("demo", assignments)


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["layout.tp=3"], "model.num_heads: layout.tp must divide it, got 4 heads for layout.tp=3"),
        (["layout.pp=6"], "layout.pp: must be at most model.num_layers = 4"),
        (["batch.global_batch=1"], "batch.global_batch: must be at least layout.dp = 6, got 1"),
        (["layout.tp=4"], "dp . tp . pp must be the number of ranks, got dp=rest tp=4 pp=1 on 6"),
    ],
)
def test_what_six_ranks_cannot_train_is_refused_before_anything_is_run(assignments, words, tmp_path):
    session = options.Session(recipe.read("demo", assignments)[0], tmp_path, RunFolder(tmp_path / "run"), Six())
    with pytest.raises(ConfigError, match=words):
        run_session(session)
    assert not session.folder.root.exists()


class Six(SoloGroup):
    size = 6


def test_an_unknown_recipe_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match="no such file or shipped recipe; shipped: demo, lake"):
        recipe.read("nonesuch")
    with pytest.raises(ConfigError, match=r"nonesuch.toml: no such file"):
        recipe.read("nonesuch.toml")


def test_the_layout_is_not_part_of_a_runs_identity():
    one, _ = recipe.read("demo")
    two, _ = recipe.read("demo", ["layout.tp=2"])
    other, _ = recipe.read("demo", ["optim.lr=0.5"])
    assert one.identity() == two.identity() != other.identity()


@pytest.mark.parametrize(
    "assignment",
    [
        "train.threads=7",
        "train.micro_batch=1",
        "train.overlap=false",
        "train.peak_flops=1e12",
        "train.tensorboard=false",
        "checkpoint.keep=9",
        "checkpoint.keep_best=false",
        "checkpoint.async_write=false",
        "guard.policy=log",
        "guard.window=9",
    ],
)
def test_how_the_machine_is_used_is_not_part_of_a_runs_identity(assignment):
    one, _ = recipe.read("demo")
    two, _ = recipe.read("demo", [assignment])
    assert one != two
    assert one.identity() == two.identity()
    assert one.identity_fingerprint() == two.identity_fingerprint()


@pytest.mark.parametrize(
    "assignment",
    [
        "seed=8",
        "train.device=cuda",
        "train.eval_every=3",
        "train.eval_tokens=3",
        "train.precision=fp16",
        "checkpoint.every_steps=3",
        "eval.top_k=2",
        "filter.samples_per_reason=1",
    ],
)
def test_what_shapes_the_result_is_part_of_a_runs_identity(assignment):
    assert recipe.read("demo")[0].identity() != recipe.read("demo", [assignment])[0].identity()


def test_an_identity_reads_back_as_itself():
    """It is what the run folder keeps and later commands load."""
    one, _ = recipe.read("demo", ["train.threads=7", "checkpoint.keep=9"])
    assert Recipe.load(one.identity()).identity() == one.identity()


def test_a_folder_of_a_recipes_name_does_not_hide_it(tmp_path, monkeypatch):
    """`tools/fetch_lake.py lake` and `fasttrain run lake` are run in the same folder."""
    (tmp_path / "lake").mkdir()
    monkeypatch.chdir(tmp_path)
    assert recipe.read("lake")[0].name == "lake"
