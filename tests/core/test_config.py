import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from fasttrain.core import config
from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError


class Leaf(Settings):
    rows: int = Field(default=8, ge=1)
    """Rows of each band."""
    names: tuple[str, ...] = ()
    """Names."""


class Root(Settings):
    rate: float
    """A rate."""
    leaf: Leaf = Leaf()
    """A table."""
    leaves: tuple[Leaf, ...] = ()
    """Tables."""


def test_fills_from_plain_data():
    root = Root.load({"rate": 3, "leaf": {"rows": 2, "names": ["a"]}, "leaves": [{"rows": 5}]})
    assert root == Root(rate=3.0, leaf=Leaf(rows=2, names=("a",)), leaves=(Leaf(rows=5),))
    assert Root.load(root.to_dict()) == root


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"rate": 1, "leaff": {}}, "dedup.leaff: unknown key; did you mean 'leaf'?"),
        ({"rate": 1, "leaf": {"row": 1}}, "dedup.leaf.row: unknown key; did you mean 'rows'?"),
        ({"rate": 1, "leaves": [{"zzz": 1}]}, "dedup.leaves.0.zzz: unknown key; known keys: names, rows"),
        ({}, "dedup.rate: this key must be given"),
        ({"rate": "3"}, "dedup.rate: .*number, got '3'"),
        ({"rate": 1, "leaf": {"rows": 0}}, "dedup.leaf.rows: .*greater than or equal to 1, got 0"),
        ({"rate": 1, "leaf": {"rows": 1.5}}, "dedup.leaf.rows: .*integer, got 1.5"),
    ],
)
def test_refuses_by_name(data, words):
    with pytest.raises(ConfigError, match=words):
        Root.load(data, where="dedup")


def test_a_toml_date_is_refused_by_name():
    with pytest.raises(ConfigError, match="recipe: .*not JSON serializable"):
        Root.load(config.parse_toml("rate = 2026-11-23", "x.toml"))


def test_broken_toml_names_the_file_and_line():
    with pytest.raises(ConfigError, match=r"x.toml: not valid TOML: .*line 2"):
        config.parse_toml("a = 1\nb = = 2", "x.toml")


def test_override_sets_values_tables_and_list_items():
    data = {"a": {"b": 1}, "list": [{"x": 1}, {"x": 2}]}
    out = config.override(data, ["a.b=2", "a.c=[1, 2]", "new.key=text", "list.1.x=true", 'a.s="q"'])
    assert out == {"a": {"b": 2, "c": [1, 2], "s": "q"}, "list": [{"x": 1}, {"x": True}], "new": {"key": "text"}}
    assert data == {"a": {"b": 1}, "list": [{"x": 1}, {"x": 2}]}


@pytest.mark.parametrize("assignment", ["a", "=1", "a.b.c=1", "list.7.x=1"])
def test_override_refuses(assignment):
    with pytest.raises(ConfigError, match="--set"):
        config.override({"a": {"b": 1}, "list": []}, [assignment])


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=5))
def test_fingerprint_ignores_the_order_of_keys(data):
    assert config.fingerprint(data) == config.fingerprint(dict(reversed(data.items())))


def test_fingerprint_sees_values():
    assert Leaf(rows=1).fingerprint() != Leaf(rows=2).fingerprint()
    assert Leaf(rows=1).fingerprint() == Leaf.load({"rows": 1}).fingerprint()
