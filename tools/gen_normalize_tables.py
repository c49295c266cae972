"""Write what the normalisers of Hugging Face tokenizers do, asked of the installed tokenizers character by character:
csrc/tokenizer/normalize_tables.inc for the native code, and python/fasttrain/tokenizer/normalize_tables.py, which says
where they differ from Python's own, for the reference. Needs tokenizers and regex.

Run it with Python 3.11, the lowest that fasttrain takes: LOWER then holds what any Python may lack.

Usage: python tools/gen_normalize_tables.py
"""

import textwrap
import unicodedata
from pathlib import Path

import regex
import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

ROOT = Path(__file__).parents[1]
OUT = ROOT / "python/fasttrain/tokenizer/normalize_tables.py"
NATIVE = ROOT / "csrc/tokenizer/normalize_tables.inc"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and c != 10]
CLASSES = "\u0334\u093c\u3099\u094d\u05b0\u0321\u0316\u0301\u0315\u035c\u0345"  # marks of many combining classes


def batch(normalizer, strings):
    """Each string normalised; none holds a line end, which nothing normalises or reorders."""
    out = []
    for k in range(0, len(strings), 4000):
        out += normalizer.normalize_str("\n".join(strings[k : k + 4000])).split("\n")
    assert len(out) == len(strings)
    return out


def active():
    """Characters that some normal form of theirs changes or moves."""
    chars = [chr(c) for c in SCALARS]
    found = {ord(c) for c, made in zip(chars, batch(normalizers.NFKD(), chars)) if made != c}
    for mark in CLASSES:
        for form in ("a{c}{m}", "a{m}{c}"):
            texts = [form.format(c=c, m=mark) for c in chars]
            found |= {ord(c) for c, t, made in zip(chars, texts, batch(normalizers.NFD(), texts)) if t != made}
    return found


def compositions():
    """(first, second, what they compose to), Hangul left out."""
    found = []
    for c in SCALARS:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and "<" not in parts[0]:
            pair = [int(p, 16) for p in parts]
            if normalizers.NFC().normalize_str("".join(map(chr, pair))) == chr(c):
                found.append((*pair, c))
    return found


def seconds():
    """Characters that they compose with the one before."""
    hangul = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    return hangul | {second for _, second, _ in compositions()}


def classes(newer):
    """(first, last, combining class) of runs of characters whose class is not 0."""
    out = []
    for c in SCALARS:
        of = 0 if c in newer else unicodedata.combining(chr(c))
        if of and out and out[-1][1:] == [c - 1, of]:
            out[-1][1] = c
        elif of:
            out.append([c, c, of])
    return out


def changed(normalizer, chars):
    """{character: what it becomes between letters, whatever these are}, of those that are not themselves there."""
    texts = [f"A{c}A" for c in chars]
    lower = normalizer.normalize_str("AA")[0]
    made = [normalizer.normalize_str(t).removeprefix(lower).removesuffix(lower) for t in texts]
    return {c: m for c, m in zip(chars, made) if m != c}


def bert(**kwargs):
    """Its normaliser with one step on."""
    steps = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    return normalizers.BertNormalizer(**{step: step in kwargs for step in steps})


def native(name, rows, doc):
    """Rows of numbers, one after another, with a count before those whose length differs."""
    cells = [f"{x:#x}" for row in rows for x in row]
    lines, line = [], ""
    for cell in cells:
        if len(line) + len(cell) > 118:
            lines.append(line)
            line = ""
        line += f"{cell},"
    lines = "\n".join([*lines, line])
    return f"constexpr std::uint32_t {name}[] = {{  // {doc}\n{lines}\n}};\n"


def mapped(changes):
    """code, length, codes of each."""
    return [(ord(c), len(m), *map(ord, m)) for c, m in changes.items()]


def spans(codes):
    """[first, last] runs."""
    out = []
    for c in codes:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def newer(known):
    """Characters that a later Unicode decomposes, reorders or composes, and that to tokenizers are like letters."""
    pattern = regex.compile(r"[^\p{Canonical_Combining_Class=0}]|\p{NFKD_QC=No}|\p{NFC_QC=Maybe}")
    moved = {c for c in SCALARS if pattern.fullmatch(chr(c))}
    return sorted(moved - known - seconds() - set(range(0xAC00, 0xD7A4)))


def word():
    """Characters of a word, beside which a token that is a single word is not found."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    tokenizer.add_tokens([AddedToken("<x>", single_word=True, normalized=False)])
    found = []
    for k in range(0, len(SCALARS), 4000):
        part = SCALARS[k : k + 4000]
        encoding = tokenizer.encode("".join(f"{chr(c)}<x>\n" for c in part))
        free = {start // 5 for i, (start, _) in zip(encoding.ids, encoding.offsets) if i == 1}
        found += [c for i, c in enumerate(part) if i not in free]
    return found


def ranges(codes):
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in spans(codes))


def table(name, text, doc):
    lines = "\n".join(textwrap.wrap(text, 116, break_on_hyphens=False))
    return f'{name} = """\n{lines}\n"""\n"""{doc}"""\n'


def main():
    chars = [chr(c) for c in SCALARS]
    marks = [ord(c) for c, made in changed(normalizers.StripAccents(), chars).items() if made == ""]
    lower = changed(normalizers.Lowercase(), chars)
    newer_lower = [(c, m) for c, m in lower.items() if m != c.lower()]
    pairs = " ".join(f"{ord(c):x}:{'+'.join(f'{ord(x):x}' for x in m)}" for c, m in newer_lower)
    later = newer(active())
    canonical = {c: m for c, m in zip(chars, batch(normalizers.NFD(), chars)) if m != c}
    compatible = {c: m for c, m in zip(chars, batch(normalizers.NFKD(), chars)) if m != canonical.get(c, c)}
    hangul = {chr(c) for c in range(0xAC00, 0xD7A4)}
    nmt, clean = changed(normalizers.Nmt(), chars), changed(bert(clean_text=True), chars)
    chinese = changed(bert(handle_chinese_chars=True), chars)
    bare = changed(bert(strip_accents=True), chars)
    nonspacing = [ord(c) for c, m in bare.items() if m == "" and c not in canonical]
    assert {*nmt.values(), *clean.values()} == {"", " "}
    assert all(m == f" {c} " for c, m in chinese.items())
    sets = {
        "NMT_GONE": ([ord(c) for c, m in nmt.items() if not m], "What Nmt leaves out."),
        "NMT_SPACE": ([10, *(ord(c) for c, m in nmt.items() if m)], "What Nmt makes a space of."),
        "BERT_GONE": ([ord(c) for c, m in clean.items() if not m], "What BertNormalizer's clean_text leaves out."),
        "BERT_SPACE": ([10, *(ord(c) for c, m in clean.items() if m)], "What it makes a space of."),
        "CHINESE": ([ord(c) for c in chinese], "What its handle_chinese_chars puts between spaces."),
        "NONSPACING": (nonspacing, "What its strip_accents leaves out of decomposed text."),
    }
    sets = {name: (sorted(codes), doc) for name, (codes, doc) in sets.items()}
    by = f"enerated by tools/gen_normalize_tables.py from tokenizers {tokenizers.__version__}; do not edit."
    parts = [
        f'"""G{by}"""\n',
        table("NEWER", ranges(later), "Inert in its normal forms, which are of Unicode 9.0, and not in later ones."),
        table("MARKS", ranges(marks), "What StripAccents leaves out."),
        table("LOWER", pairs, f"Lower case that Unicode {unicodedata.unidata_version} does not have: character:text."),
        table("WORD", ranges(word()), "Characters of words."),
        *(table(name, ranges(codes), doc) for name, (codes, doc) in sets.items()),
    ]
    OUT.write_text("\n".join(parts))
    made = [
        f"// G{by}\n// clang-format off",
        native("canonical", mapped({c: m for c, m in canonical.items() if c not in hangul}),
               "code, n, n codes: full decomposition, Hangul left out"),
        native("compatible", mapped({c: m for c, m in compatible.items() if c not in hangul}),
               "the same of compatibility, where it differs"),
        native("compositions", compositions(), "first, second, what they compose to; Hangul left out"),
        native("combining", classes(set(later)), "first, last, combining class"),
        native("lower_case", mapped(lower), "code, n, n codes"),
        native("accents", spans(marks), "first, last: what StripAccents leaves out"),
        *(native(name.lower(), spans(codes), f"first, last: {doc[0].lower()}{doc[1:-1]}")
          for name, (codes, doc) in sets.items()),
        "// clang-format on\n",
    ]  # fmt: skip
    NATIVE.write_text("\n".join(made))


if __name__ == "__main__":
    main()
