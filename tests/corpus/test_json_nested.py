"""JSON of any depth against json.loads, which is asked about less deep values of the same form."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.corpus import json_nested

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(['"', "\\", '\\"', "[]{}"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=30,
)


def pruned(value, levels):
    """The value with null for all that lies below `levels`."""
    if isinstance(value, list):
        return [pruned(v, levels - 1) for v in value] if levels > 1 else None
    if isinstance(value, dict):
        return {k: pruned(v, levels - 1) for k, v in value.items()} if levels > 1 else None
    return value


@pytest.mark.parametrize("depth", [2, 3, 5])
@settings(max_examples=150, deadline=None)
@given(value=VALUES, is_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_what_is_read_of_any_value(depth, value, is_ascii, indent):
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_nested, "_DEPTH", depth)
        assert json.loads(json_nested._cut(text)) == pruned(value, depth)


@settings(max_examples=400, deadline=None)
@given(
    value=VALUES,
    at=st.integers(0, 200),
    num_gone=st.integers(0, 3),
    junk=st.text('[]{}",:\\ n1', max_size=4),
)
def test_what_is_no_json_is_found_at_any_depth(value, at, num_gone, junk):
    text = json.dumps(value)
    text = text[:at] + junk + text[at + num_gone :]

    def is_json(cut):
        try:
            json.loads(cut(text))
        except ValueError:
            return False
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_nested, "_DEPTH", 2)
        assert is_json(json_nested._cut) == is_json(str)


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_a_hundred_thousand_levels(begin, end):
    levels = 100_000
    found = json_nested.loads('{"text": "x", "y": ' + begin * levels + "1" + end * levels + "}")
    assert found["text"] == "x"
    for text in (begin * levels, begin * levels + "1" + end * (levels - 1), begin * levels + '"' + end * levels):
        with pytest.raises(ValueError, match="has no end"):
            json_nested.loads(text)
