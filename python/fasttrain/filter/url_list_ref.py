"""Domains, URLs and words of an origin in plain Python: the definition that the native op must equal."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://")
_LOOPBACK = (b"0.0.0.0", b"127.0.0.1", b"::1", b"::")
_LONGEST_NAME = 253
_BLANKS = b" \t\r\v\f"
NOTHING, DOMAIN, URL, WORD = range(4)


def lower(text: bytes) -> bytes:
    """ASCII letters in lower case; bytes.lower does no more."""
    return text.lower()


@dataclass(frozen=True)
class Url:
    """scheme://[userinfo@]host[:port]rest. `rest` is empty or begins with / ? # or a backslash."""

    host: bytes
    port: bytes
    rest: bytes
    ipv6: bool
    has_scheme: bool


def split(text: bytes) -> Url:
    """The parts of an origin; one without a scheme begins with its host."""
    scheme = _SCHEME.match(text)
    text = text[scheme.end() :] if scheme else text
    cut = re.search(rb"[/?#\\]", text)
    authority, rest = (text[: cut.start()], text[cut.start() :]) if cut else (text, b"")
    authority = authority.rpartition(b"@")[2]
    if authority.startswith(b"[") and b"]" in authority:
        host, _, tail = authority[1:].partition(b"]")
        return Url(host, tail[1:] if tail.startswith(b":") else b"", rest, True, bool(scheme))
    host, _, port = authority.partition(b":")
    return Url(host.strip(b"."), port, rest, False, bool(scheme))


def is_odd(host: bytes) -> bool:
    """Does a host need Unicode or percent-decoding?"""
    return not host.isascii() or b"%" in host


def normal_form(url: Url) -> bytes:
    """What stands for a URL: no scheme, userinfo, default port, fragment or last slash; host in lower case."""
    host = b"[" + lower(url.host) + b"]" if url.ipv6 else lower(url.host)
    port = b"" if url.port in (b"", b"80", b"443") else b":" + url.port
    rest = url.rest.partition(b"#")[0]
    return host + port + rest.removesuffix(b"/")


def domain_of_entry(name: bytes) -> bytes:
    """The normal form of one name in a domain list; empty for none."""
    if _SCHEME.match(name):
        name = split(name).host
    name = name.removeprefix(b"*.")
    if len(name) > 1:
        name = name.removesuffix(b"/")
    if len(name) > 1 and name.startswith(b"[") and name.endswith(b"]"):
        name = name[1:-1]
    return lower(name.strip(b"."))


def domains_in(data: bytes) -> tuple[set[bytes], list[bytes]]:
    """Names in the lines of a domain list, in normal form, and the lines that are odd."""
    found, odd = set(), []
    for raw in data.split(b"\n"):
        line = raw.partition(b"#")[0].strip(_BLANKS)
        if is_odd(line):
            odd.append(line)
            continue
        tokens = [t for t in re.split(rb"[ \t\r\v\f]+", line) if t]
        hosts = len(tokens) > 1 and tokens[0] in _LOOPBACK
        found |= {domain_of_entry(t) for t in (tokens[1:] if hosts else tokens[:1])}
    return found - {b""}, odd


def urls_in(data: bytes) -> tuple[set[bytes], list[bytes]]:
    """Normal forms of the lines of a URL list (a line without a scheme also as it is), and the lines that are odd."""
    found, odd = set(), []
    for raw in data.split(b"\n"):
        line = re.split(rb"(?:^|(?<=[ \t\r\v\f]))#", raw, maxsplit=1)[0].strip(_BLANKS)
        if not line:
            continue
        url = split(line)
        if is_odd(url.host):
            odd.append(line)
            continue
        found |= {normal_form(url)} | (set() if url.has_scheme else {line})
    return found, odd


def names_above(url: Url) -> list[bytes]:
    """The host and every domain above it; an address has none above."""
    host = lower(url.host)
    labels = host.split(b".")
    above = [] if url.ipv6 or not labels[-1].strip(b"0123456789") else [
        b".".join(labels[i:]) for i in range(1, len(labels))
    ]  # fmt: skip
    return [name for name in (host, *above) if 0 < len(name) <= _LONGEST_NAME]


class Members(Protocol):
    """What can be asked whether a text is listed."""

    def __contains__(self, text: object) -> bool: ...


def find(origin: bytes, domains: Members, urls: Members, words: Members, word_bytes: Iterable[int]) -> int:
    """DOMAIN, URL, WORD or NOTHING: the first of them that is listed. `word_bytes`: lengths of the listed words."""
    url = split(origin)
    if url.has_scheme and any(name in domains for name in names_above(url)):
        return DOMAIN
    if (normal_form(url) if url.has_scheme else origin) in urls:
        return URL
    text = lower(origin)
    for size in word_bytes:
        for i in range(len(text) - size + 1):
            inside = text[i - 1 : i].isalpha() or text[i + size : i + size + 1].isalpha()
            if not inside and text[i : i + size] in words:
                return WORD
    return NOTHING
