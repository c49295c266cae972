"""Texts for the tests of this room: fragments in which every rule has something to find."""

from hypothesis import strategies as st

# ruff: noqa: E501
FRAGMENTS = (
    "the", "be", "to", "of", "and", "that", "have", "with", "The", "a", "word", "don't", "it’s", "U.S.", "3,141.59", "#",
    "##", "...", "....", "…", "……", "•", "-", "--", "_", "x_y", "\n", "\n\n", "\r\n", "\r", "\t", " ", "  ", "\v", "\f",
    "\x1c", "\x1f", "\x85", "\u2028", "\u2029", "\u00a0", "\u3000", "\u200b", "\u200c", "\u200d", "\u00ad", ".", "?", "!",
    '"', "'", "’", ",", "{", "}", "[1]", "[]", "[edit]", "[citation needed]", "[ 2]", "lorem ipsum", "Lorem Ipsum",
    "JavaScript", "terms of use", "Privacy Policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
    "漢字", "かな", "カナ", "ガ", "한국어", "ไทย", "العربية", "हिन्दी", "Ελληνικά", "кириллица", "e\u0301", "😀", "😀😀", "。",
    "！", "？", "１", "½", "²", "\x00", "\x7f", "\ufffd", "\U0001f3fd", "\U00020000", "w" * 70, "я" * 40, "long " * 9,
)  # fmt: skip

LINES = (
    "3 likes", "1,204 Comments", "(5.1M\u00a0views)", "12 shares now", "MENU OF THE DAY", "ΑΒΓ δε", "Ⓐ one", "2024", "½²Ⅳ",
    "Home", "items in cart", "You have 3 items in cart", "9\u3000Items in Cartitems in cart x", "Sign-in", "sign-in\u2003here",
    "Sign-in now", "a b c d e f g h i j Read more...", "Go and read more...", "read more…", "Read More...", "How do you do.",
    "What of it[12] Read more...", "Sign-in items in cart read more...", "x\r", "\x85y z",
)  # fmt: skip

fragments = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join)
spaced = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map(" ".join)
lines = st.lists(st.sampled_from((*LINES, *FRAGMENTS)), max_size=30).map("\n".join)
any_text = st.text(max_size=150)
texts = st.one_of(fragments, spaced, lines, any_text)
