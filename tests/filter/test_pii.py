import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.core import backend
from fasttrain.filter import pii
from fasttrain.filter.pii_ref import KINDS
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn

OP = "pii"

FOUND = [
    ("email", "jane.doe+x@mail.example.co.uk"),
    ("email", "a_b@x-y.org"),
    ("ip", "8.8.8.88"),
    ("ip", "193.99.144.80"),
    ("ip", "2a00:1450:4001:82a::200e"),
    ("ip", "2606:4700:4700:0:0:0:0:1111"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "+1-202-555-0123"),
    ("phone", "(202) 555-0123"),
    ("phone", "202-555-0123"),
    ("phone", "202.555.0123"),
    ("card", "4111 1111 1111 1111"),
    ("card", "4111-1111-1111-1111"),
    ("card", "378282246310005"),
    ("card", "5555555555554444"),
    ("card", "6011000990139424"),
    ("card", "3782 822463 10005"),
    ("card", "3056-930902-5904"),
    ("iban", "DE89370400440532013000"),
    ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ("iban", "NO9386011117947"),
    ("national_id", "123-45-6789"),  # United States: the ranges hold
    ("national_id", "111.444.777-35"),  # Brazil: (1*10+1*9+1*8+4*7+4*6+4*5+7*4+7*3+7*2)*10 % 11 = 3, then 5
    ("national_id", "11010519491231002X"),  # China: weights 7 9 10 5 8 4 2 1 6 3 7 9 10 5 8 4 2 give 167, 167 % 11 = 2
    ("national_id", "12345678Z"),  # Spain: 12345678 % 23 = 14
    ("national_id", "AB123456C"),  # United Kingdom
    ("secret", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("secret", "ghp" + "_" + "aB3dE5gH7jK9" * 3),
    ("secret", "github" + "_pat_" + "aB3dE_5gH7jK" * 6 + "0123456789"),
    ("secret", "glpat" + "-" + "aB3dE-gH7jK9aB3dE_5g"),
    ("secret", "xoxb" + "-" + "123456789012-abcdefghij"),
    ("secret", "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6q"),
    ("secret", "sk" + "_live_" + "4eC39HqLyjWDarjtT1zdp7dc"),
    ("secret", "sk" + "-ant-api03-" + "aB3dE5gH7jK9" * 4),
    ("secret", "hf" + "_" + "aB3dE5gH7jK9aB3dE5gH7jK9aB3dE5gH7j"),
    ("secret", "npm" + "_" + "aB3dE5gH7jK9" * 3),
    ("secret", "pypi" + "-" + "AgEIcHlwaS5vcmc" * 6),
]
WEB_TOKEN = ".".join(("eyJhbGciOiJIUzI1NiIs" + "InR5cCI6IkpXVCJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", "aB3dE-gH7jK9_" * 3))
AMAZON = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"  # of Amazon's documentation, 40 characters
BODY = "MIIEowIBAAKCAQEA7bq1+f/\n" * 3
PEM = [
    f"-----BEGIN {label}-----\n{BODY}-----END {label}-----"
    for label in ("PRIVATE" + " KEY", "RSA PRIVATE" + " KEY", "OPENSSH PRIVATE" + " KEY", "PGP PRIVATE" + " KEY BLOCK")
]
FOUND += [("secret", WEB_TOKEN), *(("secret", block) for block in PEM)]
IN_CONTEXT = [  # text before, the secret, text behind
    ("postgres://bob:", "hunter2", "@db.example.com:5432/x"),
    ("redis://:", "p4ss:w0rd", "@[::1]:6379"),
    ("https://jane:", "Tr0ub4dor&3", "@example.org/a?b=c"),
    ("mongodb+srv://root:", "passwords", "@localhost"),
    ("aws_secret_access_key = ", AMAZON, ""),
    ("AWS_SECRET_ACCESS_KEY=", AMAZON, "\n"),
    ('"secretAccessKey": "', AMAZON, '",'),
    ("aws.secret-key => '", AMAZON, "'"),
    ("SecretKey := ", "9" + AMAZON[1:], " "),
]
NO_SECRETS = [
    "postgres://user:password@localhost/db", "postgres://user:Passwd@db.example.com/x", "https://u:$PASS@h.org",
    "https://u:${PASS}@h.org", "https://u:{0}@h.org", "https://u:%s@h.org", "https://u:****@h.org",
    "https://u:xxx@h.org", "https://u:@h.org", "amqp://user:pw1@", "//u:pw1@h", "://u:pw1@h",
    f"sha1 = {AMAZON}", f"secret_access_key = {AMAZON}a", f"secret_access_key = {AMAZON[1:]}", f"secret_key {AMAZON}",
    f"secret_access_key = x/{AMAZON}", f"secret access key = {AMAZON}", f"secret_key =    {AMAZON}",
    "eyJhbGciOiJIUzI1NiIs.eyJzdWIiOiIxMjM.sig7", "eyJhbGciOiJIUzI1NiIs.YWJjZGVmZ2hpamtsbW4.aB3dE-gH7jK9_aB3dE",
    "xeyJhbGciOiJIUzI1NiIs.eyJzdWIiOiIxMjM0NTY3ODkwIn0.aB3dE-gH7jK9_aB3dE",
    PEM[1].replace(BODY, "MIIEowIBAAKCAQEA...\n"), PEM[1].replace("END RSA", "END EC"),
    PEM[0].replace("-----END", "END"),
    PEM[0].replace("PRIVATE", "PUBLIC"), PEM[1].replace("RSA", "rsa"), PEM[0].replace("-----BEGIN", "----BEGIN"),
    PEM[0].replace(BODY, BODY + "\n" * (1 << 14)),
]  # fmt: skip
NOT_FOUND = [
    "user@localhost",
    "@decorator.name",
    "a@b.c",
    "foo@bar..com",
    ".@x.com",
    "10.0.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "203.0.113.9",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "08.8.8.8",
    "2001:db8::1",
    "2001:0db8::1",
    "fe80::1",
    "12:30:45",
    "4111 1111 1111 1112",
    "4111 1111-1111 1111",
    "23 22 21 20 19 18 17 16",
    "52.5194108501149799",
    "0.5202997830662377",
    "4503601774854144.0",
    "22-4111-1111-1111-1111",
    "4111-1111-1111-1111-22",
    "41111 111 1111 1111",
    "1234567890123456",
    "DE89370400440532013001",
    "XX89370400440532013000",
    "+12",
    "+0123456789",
    "123-456-7890",
    "202-155-0123",
    "2024-11-23",
    "3.14159265358979",
    "0x41414141",
    "8.8.8.8",
    "2.7.2.2",
    "4111111111111111113",
    "000-12-3456",
    "666-12-3456",
    "900-12-3456",
    "123-00-4567",
    "123-45-0000",
    "123-45-67890",
    "1-123-45-6789",
    "111.444.777-36",
    "111.111.111-11",
    "110105194912310021",
    "11010519491331002X",
    "12345678A",
    "123456789Z",
    "GB123456C",
    "AD123456C",
    "AB123456E",
    "AB1234567",
    "AKIAIOSFODNN7",
    "xAKIAIOSFODNN7EXAMPLE",
    "ghp_short1",
    "sk-learn-1.2",
    "hf_hub_download2",
    "npm_config_1",
]


NOT_FOUND += NO_SECRETS

CHECKED = ("111.444.777-35", "11010519491231002X", "12345678Z")  # national ids with a check digit


@pytest.mark.parametrize(("kind", "text"), FOUND)
@pytest.mark.parametrize("around", ["{}", "call {} now", "({}),", "a\n{}\n", "é {} é", "{}."])
def test_found_whole_and_by_kind(impl, kind, text, around):
    whole = around.format(text).encode()
    found = pii.find(columns.from_texts([whole]), impl=impl)
    spans = [(whole[b:e].decode(), KINDS[k]) for b, e, k in zip(found.begins, found.ends, found.kinds)]
    assert spans == [(text, kind)]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_not_found(impl, text):
    assert len(pii.find(columns.from_texts([f"see {text} there"]), impl=impl).begins) == 0


@pytest.mark.parametrize(("left", "value", "right"), IN_CONTEXT)
def test_a_secret_is_found_by_what_stands_beside_it(impl, left, value, right):
    for before, behind in (("", ""), ("a@b.org, 8.8.8.88: ", " c@d.org")):
        whole = f"{before}{left}{value}{right}{behind}".encode()
        found = pii.find(columns.from_texts([whole]), impl=impl)
        spans = [(whole[b:e].decode(), KINDS[k]) for b, e, k in zip(found.begins, found.ends, found.kinds)]
        assert [s for s in spans if s[1] == "secret"] == [(value, "secret")]
        assert [s for s, kind in spans if kind == "email"] == (["a@b.org", "c@d.org"] if before else [])


def test_a_key_block_goes_before_what_begins_in_it(impl):
    inner = f"+{BODY}jane@example.org 8.8.8.88 {WEB_TOKEN} -----BEGIN PRIVATE KEY-----\n"
    block = PEM[1].replace(BODY, inner)
    whole = f"x@y.org {block} {PEM[0]}{block}".encode()
    shared = f"-----BEGIN RSA PRIVATE KEY{PEM[0]}".encode()  # one header's end is the next one's beginning
    found = pii.find(columns.from_texts([shared]), impl=impl)
    assert [shared[b:e].decode() for b, e in zip(found.begins, found.ends)] == [PEM[0]]
    found = pii.find(columns.from_texts([whole]), impl=impl)
    spans = [whole[b:e].decode() for b, e in zip(found.begins, found.ends)]
    assert spans == ["x@y.org", block, PEM[0], block]


@pytest.mark.parametrize(("kind", "text"), [f for f in FOUND if f[0] in ("card", "iban") or f[1] in CHECKED])
def test_one_changed_digit_of_a_checksum_is_not_found(impl, kind, text):
    at = max(i for i, c in enumerate(text) if c.isdigit())
    wrong = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
    found = pii.find(columns.from_texts([wrong]), impl=impl)
    assert kind not in [KINDS[k] for k in found.kinds]


@pytest.mark.parametrize("behind", [" 12/27", " 123", " 2024", " 4111 1111", " 7"])
@pytest.mark.parametrize("card", ["4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"])
def test_a_card_is_found_with_numbers_behind_it(impl, card, behind):
    found = pii.find(columns.from_texts([f"card 17 {card}{behind}"]), impl=impl)
    assert [(b, e, KINDS[k]) for b, e, k in zip(found.begins, found.ends, found.kinds)] == [(8, 8 + len(card), "card")]


PIECES = (
    [t for _, t in FOUND]
    + NOT_FOUND
    + ["".join(parts) for parts in IN_CONTEXT]
    + [
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY",
        "PRIVATE KEY",
        "-----",
        "-----END ",
        BODY,
        "://",
        "u:",
        "eyJ",
        "secret_key = ",
        AMAZON,
    ]
    + ["@", ".", "::", "+", "(", ")", " ", "-", "é", "x", "0", "2", "GB", "_", "4111", "sk-", "AKIA", "hf_", "X", "-1"]
)


@settings(max_examples=300)
@given(st.lists(st.lists(st.sampled_from(PIECES) | st.text(string.printable, max_size=4), max_size=8), max_size=4))
def test_native_equals_reference(lists):
    column = columns.from_texts(["".join(pieces) for pieces in lists])
    want = pii.find(column, impl="reference")
    for impl in backend.implementations(OP):
        got = pii.find(column, impl=impl)
        for name in ("starts", "begins", "ends", "kinds"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=f"{impl} {name}")


def test_masking_keeps_everything_else(impl):
    texts = ["mail a.b@c.org or 8.8.8.88!", "nothing", "", "DE89370400440532013000 é a@b.fr"]
    masked = pii.mask(columns.from_texts(texts), impl=impl)
    assert [masked.column[i].decode() for i in range(4)] == ["mail <EMAIL> or <IP>!", "nothing", "", "<IBAN> é <EMAIL>"]
    assert masked.counts.tolist() == [[1, 1, 0, 0, 0, 0, 0], [0] * 7, [0] * 7, [1, 0, 0, 0, 1, 0, 0]]


def test_only_the_wanted_kinds_are_masked(impl):
    masked = pii.mask(columns.from_texts(["a@b.org 8.8.8.88"]), kinds=["ip"], impl=impl)
    assert masked.column[0] == b"a@b.org <IP>"
    assert masked.counts.tolist() == [[0, 1, 0, 0, 0, 0, 0]]


def test_a_slice_of_a_column_is_masked_as_itself(impl):
    whole = columns.from_texts(["x@y.org", "keep", "8.8.4.40 z"])
    part = TextColumn(whole.data, whole.offsets[1:])
    masked = pii.mask(part, impl=impl)
    assert [masked.column[i] for i in range(2)] == [b"keep", b"<IP> z"]


def test_masking_again_finds_nothing(impl):
    column = columns.from_texts(["; ".join(t for _, t in FOUND)])
    once = pii.mask(column, impl=impl).column
    assert pii.mask(once, impl=impl).counts.sum() == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(threads):
    column = columns.from_texts([t for _, t in FOUND] * 40)
    np.testing.assert_array_equal(pii.find(column, threads=threads).begins, pii.find(column, threads=1).begins)


def test_refuses():
    with pytest.raises(ValueError, match=r"pii: kinds must be of .*, got \['name'\]"):
        pii.mask(columns.from_texts(["x"]), kinds=["name"])
    with pytest.raises(TypeError, match="pii: data must have dtype uint8"):
        pii.find(TextColumn(np.zeros(3, np.int8), np.array([0, 3])))
