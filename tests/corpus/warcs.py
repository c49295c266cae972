"""Small WARC files for tests."""

import gzip


def record(number, body, content_type="text/html; charset=utf-8", status="200 OK", kind="response", extra=""):
    """One record of a crawl; `kind` conversion is a WET record, whose body is the text itself."""
    http = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{extra}\r\n".encode() + body
    block, media = (body, content_type) if kind == "conversion" else (http, "application/http; msgtype=response")
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{number}>\r\nWARC-Target-URI: http://a.example/{number}\r\n"
        f"WARC-Date: 2024-02-03T04:05:06Z\r\nContent-Type: {media}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def page(text):
    return f"<html><head><title>t</title></head><body><main><p>{text}</p></main></body></html>".encode()


def gzipped(records):
    return b"".join(gzip.compress(r, mtime=0) for r in records)
