import contextlib
import gzip
import io
import tarfile

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.core.errors import ConfigError
from fasttrain.filter import url_list, url_list_ref
from fasttrain.filter.urls import UrlConfig, UrlLists
from fasttrain.text import columns

OP = "url_list"
DOMAINS = b"""# ours
example.com
*.Wild.example   # subdomains and itself
https://user@Scheme.example:8080/path
.dotted.example.
slash.example/
b\xc3\xbccher.example
xn--mnchen-3ya.example
0.0.0.0 ads.example tracker.example # hosts file
127.0.0.1\tlocal.example
::1 six.example
192.0.2.7
[2001:DB8::1]
2001:db8::2
co.example not-a-second-name
example.com/path
a%2eb.example
   \t
"""
URLS = b"""https://Good.example/Bad-Page
good.example/other/#fragment
  http://good.example:80/port  # comment
http://good.example:81/port
# whole line
books/shakespeare#12
https://b\xc3\xbccher.example/x
"""


def found(origins, impl, domains=DOMAINS, urls=URLS, words=("casino", "free-bets", "XXX")):
    sets = url_list.read([domains], "domains", impl=impl), url_list.read([urls], "urls", impl=impl)
    return url_list.find(
        columns.from_texts(origins), *sets, *url_list.of_words(words, impl=impl), threads=1, impl=impl
    ).tolist()


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("https://example.com", 1),
        ("HTTP://WWW.EXAMPLE.COM/", 1),
        ("https://a.b.c.d.e.f.g.h.i.j.k.l.m.example.com/x", 1),
        ("https://notexample.com/", 0),
        ("https://example.com.evil.org/", 0),
        ("https://evil.org/example.com", 0),
        ("https://evil.org/?u=https://example.com/", 0),
        ("https://evil.org#@example.com/", 0),
        ("https://evil.org\\@example.com/", 0),
        ("https://example.com\\@evil.org/", 1),
        ("https://example.com.", 1),
        ("https://example.com..:443/x", 1),
        ("https://user:pass@example.com:8080?x", 1),
        ("https://a@b@example.com/", 1),
        ("https://example.com@evil.org/", 0),
        ("ftp://example.com/", 1),
        ("example.com/x", 0),
        ("//example.com/x", 0),
        ("archive.warc#12", 0),
        ("https://wild.example", 1),
        ("https://deep.wild.example", 1),
        ("https://scheme.example", 1),
        ("https://dotted.example", 1),
        ("https://slash.example", 1),
        ("https://bücher.example/a", 1),
        ("https://BÜCHER.example/a", 1),
        ("https://www.xn--bcher-kva.example/a", 1),
        ("https://b%C3%BCcher.example", 1),
        ("https://münchen.example", 1),
        ("https://www。example。com/", 1),
        ("https://ex%61mple.com/", 1),
        ("https://ex%2fample.com/", 0),
        ("https://ads.example", 1),
        ("https://tracker.example", 1),
        ("https://local.example", 1),
        ("https://six.example", 1),
        ("https://not-a-second-name", 0),
        ("https://co.example", 1),
        ("http://192.0.2.7:80/", 1),
        ("http://7/", 0),
        ("http://1.192.0.2.7/", 0),
        ("http://[2001:db8::1]:8080/", 1),
        ("http://[2001:DB8::2]/", 1),
        ("http://[2001:db8::3]/", 0),
        ("http://[2001:db8::1/", 0),
        ("https://a.b.example", 1),
        ("https:///x", 0),
        ("https://", 0),
        ("", 0),
        ("http://good.example/Bad-Page", 2),
        ("https://me@GOOD.example:443/Bad-Page#top", 2),
        ("https://good.example/bad-page", 0),
        ("https://good.example/Bad-Page2", 0),
        ("https://good.example/Bad-Page?x=1", 0),
        ("https://good.example/other", 2),
        ("https://good.example/other/", 2),
        ("https://good.example/port", 2),
        ("http://good.example:81/port/", 2),
        ("http://good.example:82/port", 0),
        ("books/shakespeare#12", 2),
        ("books/shakespeare#13", 0),
        ("https://xn--bcher-kva.example/x", 1),
        ("https://good.example/my-casino/1", 3),
        ("https://good.example/CASINO", 3),
        ("https://good.example/casinos", 0),
        ("https://good.example/1casino2", 3),
        ("path/free-bets.html", 3),
        ("xxx", 3),
        ("xxxx", 0),
    ],
)
def test_traps(impl, origin, code):
    assert found([origin], impl) == [code]


hosts = st.lists(st.sampled_from(["a", "B", "com", "example", "7", "0x1", "ü", "%41", "", "xn--4ca", "-", "[", "]"]),
                 min_size=1, max_size=4).map(".".join)  # fmt: skip
schemes = st.sampled_from(["", "http://", "HTTPS://", "a+b.c-1://", "1http://", "http:/", "//"])
tails = st.sampled_from(["", "/", ":80", ":81/x", "/x?y#z", "#f", "\\x", "?casino", "/ casino ", "@a.com", "/ü"])
origins = st.one_of(st.builds("".join, st.tuples(schemes, hosts, tails)), st.text(max_size=30))
lines = st.lists(
    st.one_of(origins, st.sampled_from(["0.0.0.0 a b", "# x", " a # b", "a#b", "*.a", "\t", "[::1]"])), max_size=8
)


@settings(max_examples=150)
@given(lines, lines, st.lists(st.sampled_from(["a", "casino", "x/", "com", "ü", "b-", "7"]), max_size=4), lines)
def test_equals_reference(impl, domains, urls, words, asked):
    if impl == "reference":
        return
    texts = ("\n".join(domains).encode(), "\r\n".join(urls).encode(), words)
    asked = [o.replace("\n", "") for o in [*asked, *domains, *urls]]
    assert found(asked, impl, *texts) == found(asked, "reference", *texts)


def test_sets_are_those_of_python(impl):
    rng = np.random.default_rng(20261125)
    names = [f"h{i % 700}.d{i % 37}.example" for i in rng.integers(0, 10**6, 3000)]
    whole = url_list.read(["\n".join(names).encode()], "domains", impl=impl)
    assert len(whole) == len(set(names))
    blocks = ["\n".join(names[i : i + 7]).encode() for i in range(0, 3000, 7)]
    again = url_list.read(blocks, "domains", impl=impl)
    np.testing.assert_array_equal(whole.hashes, again.hashes)
    np.testing.assert_array_equal(whole.starts, again.starts)
    assert again.starts[-1] == len(again)
    assert np.all(np.diff(whole.hashes[:, 0].astype(object)) >= 0)
    empty = url_list.read([], "urls", impl=impl)
    assert (len(empty), empty.starts.tolist()) == (0, [0, 0])


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(threads):
    asked = columns.from_texts([f"https://w{i}.example.com/{i}" for i in range(2000)])
    sets = (url_list.read([b"example.com\nw7.example.com"], "domains"), url_list.read([b""], "urls"))
    words = url_list.of_words([])
    assert url_list.find(asked, *sets, *words, threads=threads).tolist() == [1] * 2000


def archive(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_files_of_every_kind(tmp_path):
    ut1 = archive({"b/adult/domains": b"a.example\n", "b/adult/urls": b"u.example/1\n", "b/ads/domains": b"b.example",
                   "b/README": b"no.example\n"})  # fmt: skip
    files = {
        "plain.txt": b"p.example\r\n",
        "packed.gz": gzip.compress(b"g.example\n"),
        "packed.zst": zstandard.compress(b"z.example"),
        "ut1.tar.gz": gzip.compress(ut1),
        "ut1.tar.zst": zstandard.compress(ut1),
        "ut1.tar": ut1,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "words").write_text("# ours\nCasino\n\n")
    lists = UrlLists(
        UrlConfig(domains=("own.example",), domain_files=tuple(files), url_files=("ut1.tar",), word_files=("words",)),
        tmp_path,
    )
    assert (len(lists.domains), len(lists.urls), len(lists.words)) == (6, 1, 1)
    asked = ["http://p.example", "http://x.g.example", "http://z.example", "http://a.example", "http://b.example",
             "http://own.example", "http://u.example/1/", "x/casino", "http://no.example"]  # fmt: skip
    assert lists.find(pa.array(asked)).tolist() == [1, 1, 1, 1, 1, 1, 2, 3, 0]
    assert UrlLists(UrlConfig(), tmp_path).find(pa.array(asked)).tolist() == [0] * 9


@pytest.mark.parametrize(
    ("name", "data"), [("a.gz", b"plain"), ("a.zst", b"plain"), ("a.tar", b"plain" * 200), ("no", None)]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, data):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=rf"filter.url.domain_files.0: .*{name} must be a readable list file"):
        UrlLists(UrlConfig(domain_files=(name,)), tmp_path)


def test_zstd_frames(tmp_path):
    names = [b"a%d.example\n" % i for i in range(50_000)]
    frames = [zstandard.compress(b"".join(names[i : i + 9_000])) for i in range(0, 50_000, 9_000)]
    path = tmp_path / "list.zst"
    path.write_bytes(b"".join([*frames, zstandard.compress(b""), b"\x50\x2a\x4d\x18\x03\0\0\0xyz", frames[0]]))
    assert len(UrlLists(UrlConfig(domain_files=("list.zst",)), tmp_path).domains) == 50_000
    path.write_bytes(b"".join(frames)[:-1])
    with pytest.raises(ConfigError, match="the last zstd frame has no end"):
        UrlLists(UrlConfig(domain_files=("list.zst",)), tmp_path)


@pytest.mark.parametrize("suffix", ["gz", "zst", "tar.gz", "tar.zst", "tar"])
def test_a_damaged_file_is_an_error_or_read(tmp_path, suffix):
    """Whatever is cut off or changed: a ConfigError, or what could be read of it; nothing else is raised."""
    plain = b"".join(b"name%d.example\n" % i for i in range(300))
    whole = archive({"domains": plain}) if suffix.startswith("tar") else plain
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(suffix.rpartition(".")[2], bytes)
    data, rng = pack(whole), np.random.default_rng(20261126)
    path = tmp_path / f"list.{suffix}"
    for _ in range(60):
        at, broken = int(rng.integers(0, len(data))), bytearray(data)
        if rng.integers(2):
            broken = broken[:at]
        else:
            broken[at] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        with contextlib.suppress(ConfigError):
            assert len(UrlLists(UrlConfig(domain_files=(path.name,)), tmp_path).domains) <= 302


def test_entries_that_are_no_text_are_named(tmp_path):
    (tmp_path / "latin1").write_bytes(b"b\xfccher.example\n")
    with pytest.raises(ConfigError, match="filter.url.domain_files: entries must be ASCII or UTF-8"):
        UrlLists(UrlConfig(domain_files=("latin1",)), tmp_path)


def test_refuses(impl):
    with pytest.raises(ValueError, match="url_list: kind must be one of"):
        url_list.read([b""], "hosts", impl=impl)
    with pytest.raises(TypeError, match="url_list: data must have dtype uint8"):
        empty = url_list.read([], "urls", impl=impl)
        column = columns.TextColumn(np.zeros(1, np.int8), np.zeros(1, np.int64))
        url_list.find(column, empty, empty, empty, np.zeros(0, np.int64), impl=impl)


def test_names_above():
    def above(origin):
        return url_list_ref.names_above(url_list_ref.split(origin))

    assert above(b"http://A.b.Com") == [b"a.b.com", b"b.com", b"com"]
    assert above(b"http://10.0.0.1") == [b"10.0.0.1"]
    assert above(b"http://" + b"x." * 200 + b"com")[0].count(b"x") == 125  # a name has at most 253 bytes
