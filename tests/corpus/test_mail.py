"""Mail as it comes: encodings, alternatives, attachments, signatures, several in an mbox, and what is none."""

import gzip
import mailbox
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.lake_stage import read_one
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.mail import read


def message(body, **more):
    m = EmailMessage()
    m["From"], m["To"], m["Subject"] = "ann@example.org", "bob@example.org", "Re: harpoons"
    m["Date"] = "Tue, 01 Jul 2003 10:52:37 +0200"
    m.set_content(body, **more)
    return m


def one(tmp_path, data, name="a.eml", **limits):
    path = tmp_path / name
    path.write_bytes(data)
    return read_one(tmp_path, path, limits or None)


@pytest.mark.parametrize("cte", ["quoted-printable", "base64", "8bit"])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_the_body_is_decoded_and_nothing_else_stays(tmp_path, cte, charset):
    m = message("Grüße von der See.\n\nDie Bücher sind da.\n-- \nAnn, +49 30 1234\n", cte=cte, charset=charset)
    outcome = one(tmp_path, m.as_bytes())
    assert outcome.texts == ["Grüße von der See.\n\nDie Bücher sind da."]
    (document,) = outcome.documents
    assert (document["origin"], document["timestamp"].isoformat()) == ("a.eml", "2003-07-01T08:52:37+00:00")
    assert document["meta"] == "{}"
    assert outcome.report.counts["mail_signatures"] == 1


def test_plain_text_goes_before_html_and_attachments_are_counted(tmp_path):
    m = message("The plain words.")
    m.add_alternative("<p>The marked words.</p>", subtype="html")
    m.add_attachment(b"\0\1\2", maintype="application", subtype="pdf", filename="x.pdf")
    m.add_attachment("A list.", filename="list.txt")
    m.add_attachment(message("another letter"))
    outcome = one(tmp_path, m.as_bytes())
    assert outcome.texts == ["The plain words."]
    assert outcome.report.counts["mail_attachments"] == 3


def test_html_alone_is_extracted(tmp_path):
    page = f"<html><body><p>{'The sea was calm that day, and the crew slept. ' * 8}</p></body></html>"
    outcome = one(tmp_path, message(page, subtype="html").as_bytes())
    assert outcome.texts[0].startswith("The sea was calm")
    assert "<" not in outcome.texts[0]


def bodies():
    return [f"Letter {i}.\n\nFrom here on we sail.\n\n>From there too.\nYours, {i}" for i in range(5)]


@pytest.mark.parametrize("packed", [False, True])
def test_an_mbox_gives_each_message(tmp_path, packed):
    box = mailbox.mbox(tmp_path / "made")
    for body in bodies():
        box.add(mailbox.mboxMessage(message(body)))
    box.close()
    data = (tmp_path / "made").read_bytes()
    assert b"\n>From here" in data
    outcome = one(tmp_path, gzip.compress(data) if packed else data, "list.mbox.gz" if packed else "list.mbox")
    # The standard library quotes `From ` and not `>From `, so that one `>` too many is taken from the latter.
    assert outcome.texts == [body.replace(">From", "From") for body in bodies()]
    name = "list.mbox.gz" if packed else "list.mbox"
    assert [d["origin"] for d in outcome.documents] == [f"{name}#{i}" for i in range(1, 6)]


def test_a_maildir_is_read_by_kind(tmp_path):
    box = mailbox.Maildir(tmp_path / "dir")
    for body in bodies():
        box.add(message(body))
    outcome = read_one(tmp_path, tmp_path / "dir", kind="mail")
    assert sorted(outcome.texts) == bodies()


def test_a_large_message_costs_itself_only(tmp_path):
    small, large = message("short").as_bytes(), message("long line\n" * 2000).as_bytes()
    data = b"\n".join(b"From x\n" + m for m in (small, large, small))
    outcome = one(tmp_path, data, "l.mbox", max_document_bytes=5000)
    assert outcome.texts == ["short", "short"]
    assert [(kind, row["origin"]) for kind, row in outcome.bad] == [("too_large", "l.mbox#2")]


def test_what_is_no_mail_or_cut_is_set_aside(tmp_path):
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (i, i) for i in range(3000))
    for n, (data, name, kind) in enumerate(
        [
            (b"", "a.eml", "empty"),
            (b"no header\nat all\n", "a.eml", "not_mail"),
            (b"Subject: x\n\n", "a.eml", "empty"),
            (deep, "a.eml", "not_mail"),
            (b"Subject: x\nContent-Type: text/plain; charset=utf-8\n\n" + b"\xff\xfe" * 50, "a.eml", "encoding"),
            (gzip.compress(b"From x\nSubject: x\n\nbody\n" * 99)[:-12], "a.mbox.gz", "truncated"),
        ]
    ):
        (tmp_path / str(n)).mkdir()
        outcome = one(tmp_path / str(n), data, name)
        assert (outcome.texts, [k for k, _ in outcome.bad]) == ([], [kind])


HEADS = (
    b"From a b\n", b"\n", b"\r\n", b"Subject: =?utf-8?b?/w==?=\n", b"Content-Type: multipart/mixed; boundary=x\n",
    b"--x\n", b"--x--\n", b"Content-Type: text/html\n", b"Content-Type: text/plain; charset=nope\n",
    b"Content-Type: text/plain; charset=punycode\n",
    b"Content-Type: text/plain; charset*=utf-16'x'%ff\n", b"Content-Transfer-Encoding: base64\n", b"Date: 99 99 99\n",
    b"Content-Transfer-Encoding: quoted-printable\n", b"=3\n", b"-- \n", b"YWJj\n", b"\xff\xfe\n", b"words\n",
    b"Content-Disposition: attachment; filename*=x\n", b"Content-Type: message/rfc822\n", b"Content-Type: ;;\n",
    b"begin 644 x\n", b"Content-Transfer-Encoding: uuencode\n", b"Date: Tue, 01 Jul 2003 10:52:37 +9999999999\n",
)  # fmt: skip


@given(lines=st.lists(st.one_of(st.sampled_from(HEADS), st.binary(max_size=20)), max_size=40))
def test_nothing_that_comes_in_raises_or_is_lost(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "any.mbox"
    path.write_bytes(b"".join(lines))
    config = CorpusConfig.load({"sources": [{"name": "s", "path": "."}], "max_document_bytes": 10_000})
    rows = []
    intake = Intake(
        config.sources[0],
        config,
        lambda b: rows.extend(b["origin"].to_pylist()),
        lambda b: rows.extend(b["origin"].to_pylist()),
    )
    with Extractor(5.0, 0.01) as extractor:
        read(LakeFile(path, "any.mbox", "mail", path.stat().st_size, ""), intake, extractor)
    intake.flush()
    assert len(rows) == len(set(rows)) >= 1
