"""Personal data in text: the rules, in plain Python, that every other implementation must equal.

A text is read from left to right. At a digit, `@`, `+` or `(` that lies behind the last finding the rules below are
tried; the first that holds is a finding. A *word* neighbour (letter, digit, `_`, or a byte of another script) makes a
candidate part of something longer, which is then no finding.

e-mail   RFC 5321 in its common form: up to 64 of [A-Za-z0-9._%+-] beginning with a letter, digit or `_` and not ending
         in `.`, then `@`, labels of [A-Za-z0-9-] joined by dots, the last of 2-24 letters
ip       public IPv4 (no private, loopback, link-local, shared, documentation, multicast or reserved range), no leading
         zeros, not four one-digit parts (sections and versions look like those); global unicast IPv6 (2000::/3 without
         2001:db8::/32)
phone    `+` and 8-15 digits with separators (E.164); (ddd) ddd-dddd, ddd-ddd-dddd, ddd.ddd.dddd of the North American
         plan
card     14-16 digits in a row, or in the groups printed on cards (4-4-4-4, 4-4-4-4-3, 4-6-5, 4-6-4) with one kind of
         separator, of an issuer's range and length, with Luhn's checksum; no part of a decimal or of a longer number.
         17-19 digits in a row are no card: one in ten 64-bit constants of such a range would pass
iban     a country's code and length (ISO 13616), alone or in groups of four, with the mod-97 checksum
national_id, alone, no part of a longer number:
         United States SSN ddd-dd-dddd (area not 000, 666 or from 900, group not 00, serial not 0000)
         Brazil CPF ddd.ddd.ddd-dd, both check digits modulo 11, not eleven equal digits
         China resident number, 17 digits with a date and the check character of ISO 7064 mod 11-2
         Spain DNI, eight digits and the letter of the number modulo 23
         United Kingdom NINO, two letters in use, six digits, A to D
secret   a key with its issuer's prefix (_SECRETS) and length, of [A-Za-z0-9_-], that holds a digit; nothing of these
         characters beside it
         JSON web token (RFC 7519): two parts that begin with eyJ (base64url of `{"`), at least 11 characters each, the
         first with a digit, and a signature of at least 16
         40 characters of [A-Za-z0-9/+], one a digit, behind a name that ends in secret key or secret access key (`_`,
         `-` or nothing between the words, any letter case), quotes, spaces and =, :, := or => (Amazon's secret keys)
         the password of scheme://user:password@host; not one that is a variable ($, {, %, [), a mask (x, *, .) or the
         word password, passwd, pass, pwd or secret, and then `password@host` is no e-mail address either
         a PEM block from -----BEGIN ... PRIVATE KEY----- (RFC 7468; also OpenSSL's and PGP's labels) to the END of its
         label, at most 16 KiB further, with at least 60 characters of base64 between. It goes before whatever else
         begins in it
"""

import ipaddress
import re

KINDS = ("email", "ip", "phone", "card", "iban", "national_id", "secret")

_TRIGGER = re.compile(rb"[0-9@+(]")
_WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]")
_LOCAL = re.compile(rb"[A-Za-z0-9._%+-]*\Z")
_DOMAIN = re.compile(rb"[A-Za-z0-9.-]*")
_IPV4 = re.compile(rb"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})")
_IPV6 = re.compile(rb"[0-9A-Fa-f:]+")
_INTERNATIONAL = re.compile(rb"\+[1-9](?:[ .\-()/]{0,2}\d)*")
_BRACKET = re.compile(rb"\([2-9]\d\d\) ?[2-9]\d\d[-. ]\d{4}")
_DASHED = re.compile(rb"[2-9]\d\d([-.])[2-9]\d\d\1\d{4}")
_CARD = [
    re.compile(form)
    for form in (
        rb"\d{14,16}(?!\d)",
        rb"\d{4}([ -])\d{4}\1\d{4}\1\d{4}\1\d{3}",
        rb"\d{4}([ -])\d{4}\1\d{4}\1\d{4}",
        rb"\d{4}([ -])\d{6}\1\d{5}",
        rb"\d{4}([ -])\d{6}\1\d{4}",
    )
]

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip

# Prefix -> least and most characters that follow; None: no upper limit. The prefixes are the issuers'. The lengths are
# those that the rules of public secret scanners have (gitleaks among them), not promises of the issuers. Where scanners
# differ or take longer ones too (GitHub up to 255, GitLab), only the least length is asked for.
_SECRETS: dict[bytes, tuple[int, int | None]] = {
    b"AKIA": (16, 16), b"ASIA": (16, 16),  # Amazon Web Services
    b"ghp_": (36, None), b"gho_": (36, None), b"ghu_": (36, None), b"ghs_": (36, None), b"ghr_": (36, None),  # GitHub
    b"github_pat_": (82, None), b"glpat-": (20, None),  # GitLab
    # Slack
    b"xoxa-": (20, None), b"xoxb-": (20, None), b"xoxp-": (20, None), b"xoxr-": (20, None), b"xoxs-": (20, None),
    b"AIza": (35, 35),  # Google
    b"sk_live_": (24, None), b"rk_live_": (24, None),  # Stripe
    b"sk-": (40, None),  # OpenAI, Anthropic
    b"hf_": (34, 34), b"npm_": (36, 36), b"pypi-": (85, None),
}  # fmt: skip
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}")
_NAMED_KEY = re.compile(
    rb"secret[_-]?(?:access[_-]?)?key[\"']?[ \t]{0,3}(?:=>|:=|[=:])[ \t]{0,3}[\"']?\Z", re.IGNORECASE
)
_USERINFO = re.compile(rb"[^\x00-\x20\x7f-\xff/@\"'<>`\\]{1,128}\Z")
_NO_PASSWORD = (b"password", b"passwd", b"pass", b"pwd", b"secret")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?)-----")
_PEM_BYTES, _PEM_LEAST = 1 << 14, 60
_SSN = re.compile(rb"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}")
_CPF = re.compile(rb"\d{3}\.\d{3}\.\d{3}-\d\d")
_RESIDENT = re.compile(rb"[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dX]")
_DNI = re.compile(rb"\d{8}[A-Z]")
_NINO = re.compile(rb"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]")

# What RFC 6890 and its successors keep off the public internet.
_NOT_PUBLIC = [
    ipaddress.ip_network(n)
    for n in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    ]
]
_GLOBAL_V6, _DOCUMENTATION_V6 = ipaddress.ip_network("2000::/3"), ipaddress.ip_network("2001:db8::/32")


def find(text: bytes) -> list[tuple[int, int, int]]:
    """(begin, end, kind) of every finding, in order; kind indexes KINDS."""
    found: list[tuple[int, int, int]] = []
    last = i = 0
    block = _key_block(text, 0)
    while True:
        match = _TRIGGER.search(text, i)
        i = match.start() if match is not None else len(text)
        if block is not None and block[0] < last:
            block = _key_block(text, last)
        if block is not None and i >= block[0]:
            span: tuple[int, int, int] | None = block
        elif match is None:
            return found
        else:
            span = _at(text, i, last)
        if span is None:
            i += 1
        else:
            found.append(span)
            last = i = span[1]


def _key_block(text: bytes, start: int) -> tuple[int, int, int] | None:
    """The first private key in PEM that begins at or behind `start`."""
    while (match := _PEM.search(text, start)) is not None:
        start = match.start() + 1  # dashes may end one header and begin the next
        mark = b"-----END " + match.group(1) + b"-----"
        at = text.find(mark, match.end(), match.end() + _PEM_BYTES + len(mark))
        if at >= 0 and len(re.sub(rb"[^A-Za-z0-9+/=]", b"", text[match.end() : at])) >= _PEM_LEAST:
            return match.start(), at + len(mark), 6
    return None


def _at(text: bytes, i: int, last: int) -> tuple[int, int, int] | None:
    c = text[i : i + 1]
    if c == b"@":
        begin = _userinfo(text, i, last)
        return _email(text, i, last) if begin is None else _password(text, begin, i)
    if c.isdigit() and re.fullmatch(rb"[A-Za-z_-]", text[max(0, i - 1) : i]) and (found := _secret(text, i, last)):
        return found
    if c.isdigit() and not text[max(0, i - 1) : i].isdigit() and (found := _named_key(text, i, last)):
        return found
    if c.isdigit() and re.fullmatch(rb"[A-Z]{2}", text[max(0, i - 2) : i]):
        return (_iban(text, i - 2, last) or _nino(text, i - 2)) if i - 2 >= last else None
    if _is_word(text, i - 1):
        return None
    if c == b"+":
        return _international(text, i)
    if c == b"(":
        return _national(text, i, _BRACKET)
    return _national_id(text, i) or _card(text, i) or _ipv4(text, i) or _ipv6(text, i) or _national(text, i, _DASHED)


def _is_word(text: bytes, i: int) -> bool:
    return 0 <= i < len(text) and _WORD.match(text, i) is not None


def _email(text: bytes, at: int, last: int) -> tuple[int, int, int] | None:
    local = _LOCAL.search(text[last:at])
    name = local.group().lstrip(b".%+-") if local else b""
    begin = at - len(name)
    if not name or len(name) > 64 or name.endswith(b".") or (begin > last and text[begin - 1] >= 0x80):
        return None
    match = _DOMAIN.match(text, at + 1)
    domain = match.group().rstrip(b".-") if match else b""
    labels = domain.split(b".")
    end = at + 1 + len(domain)
    if len(labels) < 2 or len(domain) + 1 > 254 or any(not x or x.startswith(b"-") for x in labels):
        return None
    if not (labels[-1].isalpha() and 2 <= len(labels[-1]) <= 24) or _is_word(text, end) or text[end : end + 1] == b"@":
        return None
    return begin, end, 0


def _ipv4(text: bytes, i: int) -> tuple[int, int, int] | None:
    match = _IPV4.match(text, i)
    if match is None or (i > 0 and text[i - 1] == ord(".")):
        return None
    if len(match.group()) == 7 or any(int(g) > 255 or (len(g) > 1 and g.startswith(b"0")) for g in match.groups()):
        return None
    if _is_word(text, match.end()) or re.match(rb"\.\d", text[match.end() : match.end() + 2]):
        return None
    address = ipaddress.ip_address(match.group().decode())
    return None if any(address in net for net in _NOT_PUBLIC) else (i, match.end(), 1)


def _ipv6(text: bytes, i: int) -> tuple[int, int, int] | None:
    match = _IPV6.match(text, i)
    if match is None or (i > 0 and text[i - 1] == ord(":")) or _is_word(text, match.end()):
        return None
    candidate = match.group()
    if candidate.endswith(b":") and not candidate.endswith(b"::"):  # a colon of the sentence
        return None
    few = candidate.endswith(b"::") and candidate.count(b":") < 3  # "2001::" alone: a gap and one group
    if len(candidate.split(b":")[0]) != 4 or few:
        return None
    try:
        address = ipaddress.ip_address(candidate.decode())
    except ValueError:
        return None
    if not isinstance(address, ipaddress.IPv6Address) or address not in _GLOBAL_V6 or address in _DOCUMENTATION_V6:
        return None
    return i, match.end(), 1


def _international(text: bytes, i: int) -> tuple[int, int, int] | None:
    match = _INTERNATIONAL.match(text, i)
    if match is None or _is_word(text, match.end()):
        return None
    return (i, match.end(), 2) if 8 <= sum(48 <= c <= 57 for c in match.group()) <= 15 else None


def _national(text: bytes, i: int, pattern: re.Pattern[bytes]) -> tuple[int, int, int] | None:
    match = pattern.match(text, i)
    if match is None or _is_word(text, match.end()):
        return None
    if match.re is _DASHED and i > 0 and text[i - 1 : i] == match.group(1):
        return None
    return None if re.match(rb"[-.]\d", text[match.end() : match.end() + 2]) else (i, match.end(), 2)


def _card(text: bytes, i: int) -> tuple[int, int, int] | None:
    if re.match(rb"\d[-.]", text[max(0, i - 2) : i]):  # of a longer number
        return None
    for form in _CARD:  # a longer form goes before its part
        match = form.match(text, i)
        if match is None or _is_word(text, match.end()) or re.match(rb"[-.]\d", text[match.end() : match.end() + 2]):
            continue
        digits = [c - 48 for c in match.group() if 48 <= c <= 57]
        doubled = [d if k % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for k, d in enumerate(reversed(digits))]
        if _is_issued(digits) and sum(doubled) % 10 == 0:
            return i, match.end(), 3
    return None


def _is_issued(digits: list[int]) -> bool:
    n = len(digits)
    four = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3]
    two, three = four // 100, four // 10
    if digits[0] == 4:
        return n in (16, 19)  # 13, long out of use, would take one in ten barcodes of German goods
    if two in (34, 37):
        return n == 15
    if two in (36, 38) or 300 <= three <= 305:
        return n == 14
    if 51 <= two <= 55 or 2221 <= four <= 2720 or two == 35:
        return n == 16
    return (four == 6011 or two == 65 or 644 <= three <= 649) and n >= 16


def _iban(text: bytes, i: int, last: int) -> tuple[int, int, int] | None:
    length = IBAN_LENGTHS.get(text[i : i + 2].decode("latin-1"), 0)
    if length == 0 or _is_word(text, i - 1) or not text[i + 3 : i + 4].isdigit():
        return None
    number, k = "", i
    while len(number) < length:
        c = chr(text[k]) if k < len(text) else "\0"
        if c.isascii() and (c.isdigit() or c.isupper()):
            number += c
        elif c != " " or len(number) % 4:
            return None
        k += 1
    value = int("".join(str(int(c, 36)) for c in number[4:] + number[:4]))
    return (i, k, 4) if value % 97 == 1 and not _is_word(text, k) else None


def _national_id(text: bytes, i: int) -> tuple[int, int, int] | None:
    if re.match(rb"\d[-.]", text[max(0, i - 2) : i]):  # of a longer number
        return None
    for form, holds in ((_SSN, None), (_CPF, _is_cpf), (_RESIDENT, _is_resident), (_DNI, _is_dni)):
        match = form.match(text, i)
        if match is None or _is_word(text, match.end()) or re.match(rb"[-.]\d", text[match.end() : match.end() + 2]):
            continue
        if holds is None or holds(match.group()):
            return i, match.end(), 5
    return None


def _is_cpf(number: bytes) -> bool:
    d = [c - 48 for c in number if 48 <= c <= 57]
    checks = [sum(d[k] * (n + 1 - k) for k in range(n)) * 10 % 11 % 10 for n in (9, 10)]
    return checks == d[9:] and len(set(d)) > 1


def _is_resident(number: bytes) -> bool:
    total = sum(int(c) * pow(2, 17 - k, 11) for k, c in enumerate(number[:17].decode()))
    return number[17:].decode() == "10X98765432"[total % 11]


def _is_dni(number: bytes) -> bool:
    return number[8] == b"TRWAGMYFPDXBNJZSQVHLCKE"[int(number[:8]) % 23]


def _nino(text: bytes, i: int) -> tuple[int, int, int] | None:
    match = _NINO.match(text, i)
    return None if match is None or _is_word(text, i - 1) or _is_word(text, match.end()) else (i, match.end(), 5)


def _secret(text: bytes, i: int, last: int) -> tuple[int, int, int] | None:
    begin = i - len(re.search(rb"[A-Za-z_-]*\Z", text[last:i]).group())  # type: ignore[union-attr]
    if begin > 0 and re.match(rb"[A-Za-z0-9_-]", text[begin - 1 : begin]):
        return None
    if token := _JWT.match(text, begin):
        return begin, token.end(), 6
    for prefix, (least, most) in _SECRETS.items():
        if text.startswith(prefix, begin):
            token = re.compile(rb"[A-Za-z0-9_-]*").match(text, begin)
            end = token.end() if token else begin
            body = end - begin - len(prefix)
            return (begin, end, 6) if least <= body <= (most or body) else None
    return None


def _named_key(text: bytes, i: int, last: int) -> tuple[int, int, int] | None:
    begin = i - len(re.search(rb"[A-Za-z/+]{0,40}\Z", text[last:i]).group())  # type: ignore[union-attr]
    if not re.fullmatch(rb"[A-Za-z0-9/+]{40}", text[begin : begin + 40]) or _is_key_character(text, begin + 40):
        return None
    if begin > 0 and _is_key_character(text, begin - 1):
        return None
    return (begin, begin + 40, 6) if _NAMED_KEY.search(text[max(0, begin - 64) : begin]) else None


def _is_key_character(text: bytes, i: int) -> bool:
    return _is_word(text, i) or text[i : i + 1] in (b"/", b"+")


def _userinfo(text: bytes, at: int, last: int) -> int | None:
    """Where `user:password` begins that ends before `at`; None when there is no URL with a password."""
    match = _USERINFO.search(text[max(last, at - 129) : at])
    if match is None or b":" not in match.group():
        return None
    begin = at - len(match.group())
    return begin if re.fullmatch(rb"[A-Za-z0-9]://", text[max(0, begin - 4) : begin]) else None


def _password(text: bytes, begin: int, at: int) -> tuple[int, int, int] | None:
    password = text[begin:at].partition(b":")[2]
    if not password or password.lower() in _NO_PASSWORD or password[:1] in (b"$", b"{", b"%", b"["):
        return None
    if not password.strip(b"xX*.") or not re.match(rb"[A-Za-z0-9\[]", text[at + 1 : at + 2]):
        return None
    return at - len(password), at, 6
