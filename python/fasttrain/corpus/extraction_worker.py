"""The process behind extraction.py: documents on stdin, text on stdout. Run as a script, one per Extractor.

`<kind>_text.text_of(document, **options)` does the work: a dict of `text` (UTF-8) and what Extracted takes, or of
`problem` and `detail`. Those modules import nothing of fasttrain, so that the process starts within milliseconds.
"""

import importlib
import json
import os
import resource
import sys
from typing import Any

# Address space: a file that unpacks to more costs itself, not the machine. Measured: 67 bytes for one of HTML (48 MB of
# short paragraphs); a PDF of 7 KB that unpacks without end ends here.
_BASE_BYTES = 2 << 30
_BYTES_PER_BYTE = 100


def answer(kind: str, document: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """What the document gave; an error of a library is a problem of this document, its absence is not."""
    try:
        module = importlib.import_module(f"fasttrain.corpus.{kind}_text")
    except ImportError as error:
        return {"missing": str(error)}
    try:
        found: dict[str, Any] = module.text_of(document, **options)
    except Exception as error:
        return {"problem": "extraction_crash", "detail": f"{type(error).__name__}: {error}"[:300]}
    return found


def main() -> None:
    """Answer until stdin ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not come between the answers
    while line := source.readline():
        request = json.loads(line)
        most = _BASE_BYTES + _BYTES_PER_BYTE * request["size"]
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(hard, most), hard))
        found = answer(request["kind"], source.read(request["size"]), request["options"])
        text = found.pop("text", b"")
        out.write(json.dumps({"size": len(text), **found}).encode() + b"\n" + text)
        out.flush()


if __name__ == "__main__":
    main()
