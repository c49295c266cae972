"""The licence of a source file: its own SPDX line, else the nearest licence file above it."""

import re
from collections.abc import Sequence
from pathlib import Path

from fasttrain.corpus.remote import RemotePath
from fasttrain.corpus.streams import Whole

_FILE = re.compile(r"(?i)^(licen[cs]e|copying|unlicense)([._-].*)?$")
_SPDX = re.compile(rb"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]{2,100})")
_HEAD = 3000
# Phrases of the licence texts, most particular first; spaces stand for any white space.
_PHRASES = (
    ("AGPL-3.0", "gnu affero general public license version 3"),
    ("LGPL-3.0", "gnu lesser general public license version 3"),
    ("LGPL-2.1", "gnu lesser general public license version 2.1"),
    ("GPL-3.0", "gnu general public license version 3"),
    ("GPL-2.0", "gnu general public license version 2"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("Apache-2.0", "apache license version 2.0"),
    ("EPL-2.0", "eclipse public license - v 2.0"),
    ("BSL-1.0", "boost software license - version 1.0"),
    ("CC0-1.0", "cc0 1.0 universal"),
    ("CC-BY-SA-4.0", "attribution-sharealike 4.0 international"),
    ("CC-BY-4.0", "attribution 4.0 international"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("PSF-2.0", "python software foundation license version 2"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"),
    ("MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("Zlib", "this software is provided 'as-is', without any express or implied warranty"),
)


def is_licence_file(name: str) -> bool:
    """LICENSE, LICENCE, COPYING, UNLICENSE, with any ending."""
    return _FILE.match(name) is not None


def classify(text: str) -> str:
    """SPDX identifier of a licence text; "" when it is none of the known ones."""
    flat = re.sub(r"[\s,]+", " ", text.lower())
    for identifier, phrase in _PHRASES:
        if phrase.replace(",", "") in flat:
            return identifier
    if "redistribution and use in source and binary forms" in flat:
        return "BSD-3-Clause" if "endorse or promote" in flat else "BSD-2-Clause"
    return ""


def of_folder(paths: Sequence[Path | RemotePath]) -> str:
    """The licence that a folder's licence files state together (`Apache-2.0 OR MIT`); "" when they state none."""
    found: set[str] = set()
    for path in paths:
        whole = Whole(path, 200_000)
        if not whole.is_too_large:
            found.add(classify(whole.data.decode("utf-8", "replace")))
    return " OR ".join(sorted(found - {""}))


def of_header(text: bytes) -> str:
    """The SPDX expression in a file's first lines; "" when there is none."""
    match = _SPDX.search(text[:_HEAD])
    return match[1].decode().strip().removesuffix("*/").strip() if match else ""
