"""Files of one format from the other: same ids where that is proved, counted differences where it is not."""

import base64
from itertools import pairwise

import pytest

from fasttrain.core.errors import FormatError
from fasttrain.text.columns import from_texts
from fasttrain.tokenizer import Tokenizer, train_bpe
from fasttrain.tokenizer.convert import Differences, to_tiktoken, to_tokenizer_json
from tokenizer import by_hand
from tokenizer.scripts import SAMPLES

EOT = "<|endoftext|>"


def ranked(path, tokens, special=None):
    """A .tiktoken file of the bytes and these tokens, read."""
    table = [*(bytes([b]) for b in range(256)), *tokens]
    path.write_bytes(b"".join(b"%s %d\n" % (base64.b64encode(t), i) for i, t in enumerate(table)))
    return Tokenizer.load(path, pattern="cl100k", special_tokens=special)


def rank_bpe(tokens, text):
    """tiktoken's algorithm on one pretoken, in plain Python."""
    rank = {bytes([b]): b for b in range(256)} | {t: 256 + k for k, t in enumerate(tokens)}
    parts = [bytes([b]) for b in text]
    if text in rank:
        return [rank[text]]
    while True:
        known = [(rank[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in rank]
        if not known:
            return [rank[p] for p in parts]
        i = min(known)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_a_list_in_the_order_of_its_ids_is_the_same_as_ranks(tmp_path):
    tokenizer = by_hand.make([(b"a", b"b"), (b"ab", b"c"), (b"x", b"y")], special=(EOT,))
    made, why = to_tiktoken(tokenizer, tmp_path / "t.tiktoken")
    assert why == ""
    assert made.special_tokens == tokenizer.special_tokens
    assert (tmp_path / "t.tiktoken").read_bytes().splitlines()[-1] == base64.b64encode(b"xy") + b" 258"
    for text in ("abc", "ab", "xyabcx", "cab a", "abcab"):
        assert made.encode(text).tolist() == tokenizer.encode(text).tolist()


@pytest.mark.parametrize(
    ("merges", "why", "text"),
    [
        # Ranks also make "abc" of a + bc, which meet in "abc" because bc has the lowest rank.
        ([(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")], "ranks know 1 pairs that the merge list does not have", "xabc"),
        # "cd" first by the list, "ab" first by ids: of "abcd" the list makes ab|cd, too; of "bc" nothing differs.
        ([(b"b", b"c"), (b"b", b"c")], "", "bc"),
    ],
)
def test_a_list_that_is_not_ranks_says_why(tmp_path, merges, why, text):
    tokenizer = by_hand.make(merges)
    made, found = to_tiktoken(tokenizer, tmp_path / "t.tiktoken")
    assert found.startswith(why)
    assert bool(found) == bool(why)
    assert (made.encode(text).tolist() != tokenizer.encode(text).tolist()) == bool(why)


def test_merges_in_another_order_than_the_ids_are_not_ranks(tmp_path):
    from dataclasses import replace

    v = by_hand.make([(b"a", b"b"), (b"b", b"c")]).vocabulary
    turned = Tokenizer(replace(v, pairs=v.pairs[::-1].copy(), id_of_rank=v.id_of_rank[::-1].copy()))
    assert turned.encode("xabc").tolist() == [ord("x"), ord("a"), 257]
    made, why = to_tiktoken(turned, tmp_path / "t.tiktoken")
    assert why == "the order of the merges is not the order of the ids"
    assert made.encode("xabc").tolist() == [ord("x"), 256, ord("c")]


def test_a_token_without_merges_is_given_whole_by_ranks(tmp_path):
    made, why = to_tiktoken(by_hand.make([], extra=[b"zq"]), tmp_path / "t.tiktoken")
    assert why == "ranks know 1 pairs that the merge list does not have, and lack 0"
    assert made.encode("zq").tolist() == [256]
    made, why = to_tiktoken(by_hand.make([], extra=[b"zqz"]), tmp_path / "t.tiktoken")
    assert why == "1 tokens that no merges give are given whole by ranks"
    assert made.encode("zqz").tolist() == [256]


def test_two_tokens_of_the_same_bytes_are_refused(tmp_path):
    with pytest.raises(FormatError, match=r"tokens 256 and 257 are both b'ab'; .tiktoken holds one"):
        to_tiktoken(by_hand.make([(b"a", b"b")], extra=[b"ab"]), tmp_path / "t.tiktoken")
    assert not (tmp_path / "t.tiktoken").exists()


def test_ranks_become_a_list(tmp_path):
    one = ranked(tmp_path / "one.tiktoken", [b"ab", b"abc"], {EOT: 258})
    made, why = to_tokenizer_json(one, tmp_path / "one.json")
    assert why == ""
    assert made.special_tokens == {EOT: 258}
    assert made.vocabulary.ignore_merges
    two = ranked(tmp_path / "two.tiktoken", [b"aa", b"aaa"])
    made, why = to_tokenizer_json(two, tmp_path / "two.json")
    assert why == "1 pairs share a rank with another, and a list must put them in an order"
    for text in ("aaaaa", "aaaa", "baaa"):
        assert two.encode(text).tolist() == rank_bpe([b"aa", b"aaa"], text.encode())


def test_there_and_back_is_the_same_file(tmp_path):
    tokens = [b"ab", b"cd", b"abcd"]
    one = ranked(tmp_path / "one.tiktoken", tokens)
    listed, _ = to_tokenizer_json(one, tmp_path / "one.json")
    to_tiktoken(listed, tmp_path / "two.tiktoken")
    assert (tmp_path / "two.tiktoken").read_bytes() == (tmp_path / "one.tiktoken").read_bytes()


def test_differences_worked_by_hand():
    one, other = by_hand.make([(b"a", b"b"), (b"c", b"d")]), by_hand.make([(b"a", b"b")], extra=[b"zz"])
    found = Differences()
    # "abcd": ab cd against ab c d: cd is not there. "ab": the same. "cdcd": both cd.
    found.add(one, other, from_texts(["abcd", "ab", "cdcd"]))
    assert (found.docs, found.differing_docs, found.tokens, found.differing_tokens) == (3, 2, 5, 3)
    found.add(one, one, from_texts(SAMPLES))
    assert (found.differing_docs, found.differing_tokens) == (2, 3)


def test_a_trained_vocabulary_as_ranks_differs_by_no_more_than_is_counted(tmp_path):
    tokenizer = train_bpe(SAMPLES * 4, vocab_size=450)
    made, why = to_tiktoken(tokenizer, tmp_path / "t.tiktoken")
    assert "pairs that the merge list does not have" in why
    found = Differences()
    found.add(tokenizer, made, from_texts(SAMPLES))
    same = all(tokenizer.encode(t).tolist() == made.encode(t).tolist() for t in SAMPLES)
    assert same == (found.differing_tokens == 0)
