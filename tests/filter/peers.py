"""What other projects count where they differ from us, written from their published definitions: for golden vectors."""

import re
import statistics

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
DCLM_COUNTER = re.compile(
    r"^\W*\d(?:,|\.|\d)*[kmb]?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads"
    r"|views|followers)\W*$"
)


def dolma_dup_grams(text, n):
    """Characters of every occurrence of a repeated n-gram, the first too, divided by the characters of all n-grams."""
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    size = sum(sum(map(len, g)) for g in grams)
    return sum(sum(map(len, g)) for g in grams if grams.count(g) > 1) / size if size else 0.0


def joined_dup_grams(text, n):
    """Characters of n-grams seen before, compared as one text without spaces (datatrove), none counted twice."""
    words, seen, chars, i = text.split(), set(), 0, 0
    while i <= len(words) - n:
        gram = "".join(words[i : i + n])
        chars, i = (chars + len(gram), i + n) if gram in seen else (chars, i + 1)
        seen.add(gram)
    return chars


def dclm_lines(text, refuses):
    """Lines cut at newlines alone that a rule refuses."""
    return sum(bool(refuses(line)) for line in text.split("\n") if line)


OURS = {
    "word length": lambda s: s["text_word_chars"] / s["text_words"],
    "duplicated 5-gram characters": lambda s: s["dup_5_gram_chars"] / s["chars"],
    "stop words": lambda s: s["stop_words"],
    "bullets": lambda s: s["bullet_lines"] / s["lines"],
    "ellipses to words": lambda s: s["ellipses"] / s["words"],
    "uppercase lines": lambda s: s["rw_uppercase_lines"],
    "numeric lines": lambda s: s["rw_numeric_lines"],
    "counters": lambda s: s["rw_counter_lines"],
    "phrases": lambda s: s["rw_phrase_lines"],
    "one-word lines": lambda s: s["rw_one_word_lines"],
    "joined 5-grams": lambda s: s["dup_5_gram_chars"],
    "lines after citations": lambda s: s["c4_kept_lines"],
}
THEIRS = {
    ("dolma", "word length"): lambda text: statistics.median(map(len, text.split())),
    ("dolma", "duplicated 5-gram characters"): lambda text: dolma_dup_grams(text, 5),
    ("dolma", "stop words"): lambda text: sum(w in STOP_WORDS for w in text.split()),
    ("dolma", "bullets"): lambda text: sum(x.startswith(("*", "-")) for x in text.split("\n")) / len(text.split("\n")),
    ("dolma", "ellipses to words"): lambda text: sum("…" in w for w in text.split()) / len(text.split()),
    ("datatrove", "joined 5-grams"): lambda text: joined_dup_grams(text, 5),
    ("datatrove", "lines after citations"): lambda text: sum(
        re.sub(r"\[\d*]", "", x).endswith(tuple(".?!\"'")) for x in text.splitlines()
    ),
    ("DCLM", "stop words"): lambda text: sum(w in STOP_WORDS for w in text.split()),
    ("DCLM", "uppercase lines"): lambda text: dclm_lines(text, lambda x: sum(c.isupper() for c in x) / len(x) > 0.5),
    ("DCLM", "numeric lines"): lambda text: dclm_lines(text, lambda x: sum(map(str.isdigit, x)) / len(x) > 0.999999),
    ("DCLM", "counters"): lambda text: dclm_lines(text, lambda x: DCLM_COUNTER.search(x.lower())),
    ("DCLM", "phrases"): lambda text: dclm_lines(text, lambda x: re.search(r"\s?read more...$", x, re.IGNORECASE)),
    ("DCLM", "one-word lines"): lambda text: dclm_lines(text, lambda x: len(x.split()) < 2),
}
