"""Precision and recall by kind, with whole spans, on the sentence templates of presidio-evaluator 0.3.2 (MIT licence,
presidio/LICENSE), filled with generated values. The generators are this file's own; what they draw is valid by
checksum. Real code and prose of the demo lake, which hold none of these numbers, are the hard negatives."""

import base64
import gzip
import json
import random
import re
import string
import uuid
from collections import Counter
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import zstandard

from fasttrain.filter import pii
from fasttrain.filter.pii_ref import IBAN_LENGTHS, KINDS
from fasttrain.text import columns

ROOT = Path(__file__).parents[2]
_LINES = (Path(__file__).parent / "presidio/templates.txt").read_text(encoding="utf-8", errors="replace").splitlines()
TEMPLATES = [line.replace("\\n", "\n") for line in _LINES]  # the file writes line breaks as \n
FILLS = 40
PERSONAL = {
    "credit_card_number": "card", "iban": "iban", "email": "email", "ip_address": "ip", "phone_number": "phone",
    "ssn": "national_id",
}  # fmt: skip
PHONES = [  # the last two are national forms, which the rules leave to a model
    "+44 20 #### ####", "+49 (30) ######", "+1-2##-555-####", "(2##) 555-####", "2##-555-####", "2##.555.####",
    "07700 9#####", "0175/#######",
]  # fmt: skip
FOUND_PHONES = 6 / len(PHONES)


def digits(rng, n):
    return "".join(rng.choice("0123456789") for _ in range(n))


def card(rng):
    prefix, size = rng.choice([("4", 16), ("5" + rng.choice("12345"), 16), ("37", 15), ("6011", 16), ("36", 14)])
    body = prefix + digits(rng, size - len(prefix) - 1)
    total = sum(sum(divmod(int(c) * (2 - k % 2), 10)) for k, c in enumerate(reversed(body)))
    number = body + str(-total % 10)
    cuts = {16: (4, 8, 12), 15: (4, 10), 14: (4, 10)}[size]
    separator = rng.choice(["", " ", "-"])
    return separator.join(number[a:b] for a, b in zip((0, *cuts), (*cuts, size)))


def iban(rng):
    country = rng.choice(sorted(IBAN_LENGTHS))
    body = digits(rng, IBAN_LENGTHS[country] - 4)
    rest = int("".join(str(int(c, 36)) for c in body + country + "00")) % 97
    number = f"{country}{98 - rest:02d}{body}"
    return number if rng.random() < 0.5 else " ".join(re.findall("....|.+", number))


def ssn(rng):
    area = rng.choice([a for a in range(1, 900) if a != 666])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def ip(rng):
    if rng.random() < 0.3:
        return ":".join(f"{x:x}" for x in [0x2A00 + rng.randrange(256), *(rng.randrange(65536) for _ in range(7))])
    return f"{rng.choice([11, 64, 93, 151, 216])}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"


def email(rng):
    name = rng.choice(["ana.li", "j_smith", "o'neil".replace("'", ""), "x+y", "k-r", "info"]) + digits(rng, 2)
    return f"{name}@{rng.choice(['mail', 'x-y', 'uni2'])}.{rng.choice(['org', 'co.uk', 'de', 'museum'])}"


def phone(rng):
    return re.sub("#", lambda _: rng.choice("0123456789"), rng.choice(PHONES))


MAKERS = {"credit_card_number": card, "iban": iban, "email": email, "ip_address": ip, "phone_number": phone, "ssn": ssn}


def other(rng, name):
    """What a slot that is not personal data of these kinds holds."""
    if name in ("building_number", "age"):
        return digits(rng, 2)
    if name in ("zipcode", "postcode"):
        return rng.choice([digits(rng, 5), f"{digits(rng, 5)}-{digits(rng, 4)}", "SW1A 1AA"])
    if name in ("year", "date_time", "date_of_birth"):
        return rng.choice(["1987", "1987-03-04", "03/04/1987", "1987-03-04 10:11:12"])
    if name == "us_driver_license":
        return rng.choice("ABCDWZ") + digits(rng, 7)
    return rng.choice(["Ada", "Müller", "12 High Street, Apt. 4", "https://www.example.org/a?b=1", "Żółć", "Inc. 3000"])


def filled(rng, template):
    """(text, [(begin, end, kind)]) in bytes."""
    text, spans, at = b"", [], 0
    for match in re.finditer(r"\{\{(\w+)\}\}", template):
        text += template[at : match.start()].encode()
        name = match.group(1)
        value = (MAKERS[name](rng) if name in MAKERS else other(rng, name)).encode()
        if name in PERSONAL:
            spans.append((len(text), len(text) + len(value), PERSONAL[name]))
        text, at = text + value, match.end()
    return text + template[at:].encode(), spans


@pytest.fixture(scope="module")
def scores():
    """kind -> (true positives, false positives, false negatives)"""
    rng = random.Random(20261125)
    cases = [filled(rng, template) for template in TEMPLATES for _ in range(FILLS)]
    found = pii.find(columns.from_texts([text for text, _ in cases]))
    right, wrong, missed = Counter(), Counter(), Counter()
    for n, (_, spans) in enumerate(cases):
        rows = range(found.starts[n], found.starts[n + 1])
        got = {(int(found.begins[m]), int(found.ends[m]), KINDS[found.kinds[m]]) for m in rows}
        right.update(kind for *_, kind in got & set(spans))
        wrong.update(kind for *_, kind in got - set(spans))
        missed.update(kind for *_, kind in set(spans) - got)
    return {kind: (right[kind], wrong[kind], missed[kind]) for kind in KINDS}


@pytest.mark.parametrize("kind", sorted(set(PERSONAL.values())))
def test_precision_and_recall(scores, kind):
    right, wrong, missed = scores[kind]
    n = right + missed
    precision, recall = right / (right + wrong), right / n
    print(f"pii {kind}: precision {precision:.4f}, recall {recall:.4f} of {n}")
    # Whatever has a form that the rules know is found; of the eight forms of phones they know six.
    share = FOUND_PHONES if kind == "phone" else 1.0
    assert abs(recall - share) <= 4 * sqrt(share * (1 - share) / n)
    assert precision >= 0.99


def test_a_kind_that_no_template_holds_is_not_found(scores):
    assert scores["secret"] == (0, 0, 0)


def isbn13(rng):
    body = rng.choice(["978", "979"]) + digits(rng, 9)
    check = -sum(int(c) * (1, 3)[k % 2] for k, c in enumerate(body)) % 10
    return rng.choice([f"{body}{check}", f"{body[:3]}-{body[3]}-{body[4:7]}-{body[7:]}-{check}"])


def isbn10(rng):
    body = digits(rng, 9)
    check = "0123456789X"[-sum(int(c) * (10 - k) for k, c in enumerate(body)) % 11]
    return f"{body[0]}-{body[1:4]}-{body[4:]}-{check}"


def barcode(rng):
    body = rng.choice(["400", "440", "590", "761"]) + digits(rng, 9)
    return body + str(-sum(int(c) * (1, 3)[k % 2] for k, c in enumerate(body)) % 10)


def date(rng):
    y, m, d = rng.randint(1900, 2099), rng.randint(1, 12), rng.randint(1, 28)
    return rng.choice(
        [
            f"{y}-{m:02d}-{d:02d}",
            f"{d:02d}.{m:02d}.{y}",
            f"{m}/{d}/{y}",
            f"{y}{m:02d}{d:02d}",
            f"{y}-{y + 4}",
            f"{y}-{m:02d}-{d:02d}T{d:02d}:{m:02d}:59.{d:06d}Z",
            f"{d:02d}:{m:02d}:{d:02d},{m:03d}",
            str(rng.randint(10**9, 2 * 10**9)),
            str(rng.randint(10**12, 2 * 10**12)),
        ]
    )


def version(rng):
    a, b, c = (rng.randrange(40) for _ in range(3))
    return rng.choice(
        [
            f"{a}.{b}.{c}",
            f"v{a}.{b}.{c}.{a}",
            f"{a}.{b}.{2000 + c}.{b}",
            f"{a}.{b}.{c}.{a}.{b}",
            f"{a}.{b}.{c}-rc{a}+build.{b}",
            f"{a}.{b}a{c}",
            f"numpy=={a}.{b}.{c}",
        ]
    )


def serial(rng):
    letters = "".join(rng.choice(string.ascii_uppercase) for _ in range(3))
    return rng.choice(
        [
            f"SN-{letters}{digits(rng, 7)}",
            f"{digits(rng, 4)}-{letters}-{digits(rng, 4)}",
            f"#{digits(rng, 10)}",
            f"{letters}{digits(rng, 4)}{letters}{digits(rng, 5)}",
            f"{digits(rng, 12)}",
            f"US{digits(rng, 7)}B2",
            f"10.1{digits(rng, 3)}/{letters.lower()}.{digits(rng, 6)}",
            f"arXiv:2401.{digits(rng, 5)}",
        ]
    )


def mathematics(rng):
    a, b, c = (rng.randint(2, 999) for _ in range(3))
    return rng.choice(
        [
            f"{a} + {b} - {c} = {a + b - c}",
            f"({a})({b}) = {a * b}",
            f"{a / b!r}",
            f"-{a}.{digits(rng, 12)}e-{b % 9}",
            f"[{a}, {b}, {c}, {a * c}]",
            f"{a}*({b}+{c})",
            f"{a * b * c:,}",
            f"1/{a}+1/{b}",
            f"0x{a * b * c:08x}",
            f"{a}:{b % 9}:{c % 9}",
            f"x^{a} + {b}x - {c}",
        ]
    )


def hashed(rng):
    return rng.choice([rng.randbytes(n).hex() for n in (16, 20, 32)] + [base64.b64encode(rng.randbytes(30)).decode()])


def unique_id(rng):
    return str(uuid.UUID(bytes=rng.randbytes(16), version=4))


NEGATIVES = [isbn13, isbn10, barcode, date, version, serial, mathematics, hashed, unique_id]
AROUND = [
    "{}",
    "see {}, and",
    "({})",
    "key = '{}'",
    '"sha": "{}",',
    "a,{},b",
    "{};",
    "No. {}.",
    "id={}&x",
    "<td>{}</td>",
]


@pytest.mark.parametrize("make", NEGATIVES, ids=lambda f: f.__name__)
def test_what_only_looks_like_personal_data_is_none(make):
    rng = random.Random(make.__name__)
    texts = [rng.choice(AROUND).format(make(rng)) for _ in range(4000)]
    found = pii.find(columns.from_texts(texts))
    wrong = [texts[n] for n in np.repeat(np.arange(len(texts)), np.diff(found.starts)).tolist()]
    assert wrong == []


def test_any_sixteen_digits_are_a_card_as_often_as_chance_says():
    # Issuers' ranges: 4, 51-55, 2221-2720, 35, 6011, 65, 644-649; one in ten of those has the checksum.
    share = (0.1 + 0.05 + 0.05 + 0.01 + 0.0001 + 0.01 + 0.006) / 10
    rng = random.Random(16)
    n = 20_000
    counts = pii.count(columns.from_texts([digits(rng, 16) for _ in range(n)])).sum(axis=0)
    assert abs(counts[KINDS.index("card")] - n * share) <= 4 * sqrt(n * share * (1 - share))


def test_prose_holds_none():
    """Books, and documentation: neither has a card, an account, an id or a secret."""
    books = sorted((ROOT / "python/fasttrain/data/demo_lake/books").glob("*.zst"))
    texts = [zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()) for path in books]
    with gzip.open(ROOT / "python/fasttrain/data/demo_lake/docs.jsonl.gz") as lines:
        texts += [json.loads(line)["text"].encode() for line in lines]
    counts = dict(zip(KINDS, pii.count(columns.from_texts(texts)).sum(axis=0).tolist()))
    print("pii in", sum(map(len, texts)), "bytes of prose:", counts)
    assert sum(counts.values()) - counts["email"] == 0


def test_code_holds_none():
    code = sorted((ROOT / "python/fasttrain/data/demo_lake/code").rglob("*.zst"))
    texts = [zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()) for path in code]
    assert len(texts) > 30
    counts = dict(zip(KINDS, pii.count(columns.from_texts(texts)).sum(axis=0).tolist()))
    print("pii in", sum(map(len, texts)), "bytes of code:", counts)
    assert counts["card"] == counts["iban"] == counts["national_id"] == counts["secret"] == 0
