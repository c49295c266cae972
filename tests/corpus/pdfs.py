"""Small PDF files for tests, written by hand: one font, one content stream a page, a cross-reference table."""

import zlib


def pdf(pages, title=None, image_only=False, trailer=b"", pack=False):
    """A PDF of `pages`, each a list of lines from top to bottom (Latin-1); `title` goes into its information."""
    kids = b" ".join(b"%d 0 R" % (5 + 2 * i) for i in range(len(pages)))
    info = b"<< >>" if title is None else b"<< /Title " + _string(title.encode("utf-16", "surrogatepass")) + b" >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [" + kids + b"] /Count %d >>" % len(pages),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        info,
    ]
    for i, lines in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (6 + 2 * i)
        )
        objects.append(_stream(b"10 10 80 90 re f" if image_only else _drawn(lines), pack))
    return assembled(objects, trailer)


def assembled(objects, trailer=b""):
    """Objects 1, 2, ... (the first is the catalogue, the fourth the information) as a file."""
    out, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(
        b"%010d 00000 n \n" % o for o in offsets
    )
    end = b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R %s >>\nstartxref\n%d\n%%%%EOF\n"
    return out + table + end % (len(objects) + 1, trailer, len(out))


def encrypted(pages):
    """A PDF that says it is encrypted with a password that nobody knows."""
    key = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]" % (b"ab" * 32, b"cd" * 32)
    return pdf(pages, trailer=key)


def _drawn(lines):
    return b"BT /F1 12 Tf 16 TL 72 770 Td " + b" ".join(_string(x.encode("cp1252")) + b" Tj T*" for x in lines) + b" ET"


def _stream(data, pack):
    data, kind = (zlib.compress(data), b" /Filter /FlateDecode") if pack else (data, b"")
    return b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(data), kind, data)


def _string(data):
    return b"<" + data.hex().encode() + b">"
