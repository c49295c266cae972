"""Text that the tokenizer's tests share: scripts, kinds of white space, digits, contractions, broken words."""

from hypothesis import strategies as st

SAMPLES = [
    "Hello world! It's 2026, we'LL see 1234567 things.\r\n\r\n  indented\t\tcode();  \n",
    "def f(x):\n    return x ** 2  # ok\n\n\nclass A:\n\tpass\n   ",
    "Füße, naïve café — «цитата» и ещё слова. Ελληνικά κείμενα; Việt Nam",
    "日本語のテキスト。中文文本，混合 English 123。한국어 문장 0１２３",
    "العربية ١٢٣ עברית हिन्दी वाक्य १२३ ไทย தமிழ் ქართული",
    "'ſ 'S 's 'T 'll 'LL 'lL 've 'Re 'x '' ' 'd\u2028z \u00a0\u3000a\u0085b",
    "👩‍👩‍👧‍👦 emoji 🇫🇷 e\u0301 \u200d\ufeff\x00\x1c\x1d\x1e\x1f\x0b\x0c",
    "camelCaseHTTPServer ǅungla ǅ ªº ʰX Éa\u0301É\u0301É \u0301x \u0301ABC. XMLŊ'ſ'S漢字A々ー\u3099゛・'re/\n/\r//x",
    "a" * 200 + "^" * 100 + " " * 150 + "b" + "\n" * 90 + "c",
    "\U00010d40\U00010d41 \U0001ccf0 \u1c89\u1c8a \U000323b0 x",
    "",
    " ",
    "\n",
    " \n ",
]

TEXT = st.text(
    st.one_of(
        st.sampled_from("'sdmtlvreLVRESDMT \t\r\n019aZ.,!?/ſ\u00a0\u2028éÉǅª\u0301漢ー\u3099・१\x01\U0001f600"),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=60,
)
