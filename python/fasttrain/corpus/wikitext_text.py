"""Wikitext to text (mwparserfromhell, the extra `wiki`): what a reader of the page sees as running text.

Templates, references, tables, files, categories, galleries and magic words go; links leave their labels, headings and
list items their lines; <nowiki>, <pre> and <syntaxhighlight> stay as they are, <math> as its source between dollar
signs. A section that is left without text goes with its heading. Templates are not expanded: what they would say is
not in the dump's page.

Part of the worker behind extraction.py: imports nothing of fasttrain.
"""

import html
import re
from collections.abc import Iterable
from typing import Any

import mwparserfromhell
from mwparserfromhell import nodes

_DROPPED = {
    "ref", "references", "gallery", "table", "timeline", "score", "graph", "imagemap", "templatestyles", "templatedata",
    "section", "style", "script", "indicator", "inputbox", "categorytree", "hiero", "mapframe", "maplink", "ce", "chem",
    "includeonly",
}  # fmt: skip
_VERBATIM = {"pre", "syntaxhighlight", "source"}
_BLOCKS = {"p", "div", "blockquote", "ul", "ol", "dl", "center", "poem", "h1", "h2", "h3", "h4", "h5", "h6"}
_KEPT, _HEADING = "\x00", "\x01"  # marks of the text on its way: neither is a character of XML
_STYLE = re.compile(r"'{2,5}")
_MAGIC = re.compile(r"__[^\W\d_a-z]{3,}(?:_[^\W\d_a-z]+)*__")
_STRAY = re.compile(
    r"</?(?:ref|references|div|span|small|big|center|br|p|font|b|i|u|s|sub|sup|table|tr|td|th|li|ul|ol|blockquote|"
    r"onlyinclude|noinclude|includeonly|gallery|poem|nowiki)\b[^<>]*>",
    re.IGNORECASE,
)
_OTHER_WIKI = re.compile(r"[a-z]{2,3}(-[a-z]+)*")  # prefix of a link to the same page in another language
# What a template leaves: ` ( ; )`, ` ,`. Not `f()`, nor ` !`, which French writes so.
_NO_BRACKETS = re.compile(r" \([\s,;:.]*\)")
_BEFORE_POINT = re.compile(r" +(?=[,.](?:\s|$))")
_KEPT_MARK = re.compile(rf"{_KEPT}(\d+){_KEPT}")


def text_of(raw: bytes, dropped: list[str]) -> dict[str, Any]:
    """Text of a page; links into a namespace of `dropped` (lower case: files, categories) leave nothing."""
    source = raw.decode("utf-8", "replace").replace(_KEPT, "").replace(_HEADING, "")
    plain = _Plain(frozenset(dropped))
    # Style marks ('' and ''') are often unbalanced, which costs the parser the whole line: they are taken out below.
    plain.walk(mwparserfromhell.parse(source, skip_style_tags=True).nodes)
    return {"text": plain.text().encode("utf-8", "replace")}


class _Plain:
    """Collects what the nodes of a page leave."""

    def __init__(self, dropped: frozenset[str]) -> None:
        self._dropped = dropped
        self._out: list[str] = []
        self._kept: list[str] = []  # texts that no rule below may touch

    def walk(self, found: Iterable[Any]) -> None:
        """Add what these nodes leave. Templates, comments and their like leave nothing."""
        for node in found:
            match node:
                case nodes.Text():
                    self._out.append(_STRAY.sub(" ", _MAGIC.sub("", _STYLE.sub("", str(node.value)))))
                case nodes.Wikilink():
                    self._link(node)
                case nodes.ExternalLink():
                    if node.title is not None:
                        self.walk(node.title.nodes)
                    elif not node.brackets:
                        self.walk(node.url.nodes)  # a template behind it is taken for a part of it
                case nodes.HTMLEntity():
                    self._out.append(_entity(node))
                case nodes.Argument():
                    if node.default is not None:
                        self.walk(node.default.nodes)
                case nodes.Heading():
                    title = " ".join(self._inside(node.title.nodes).split())
                    self._out.append(f"\n{_HEADING}{node.level}{title}\n")
                case nodes.Tag():
                    self._tag(node)

    def _inside(self, found: Iterable[Any]) -> str:
        outer, self._out = self._out, []
        self.walk(found)
        outer, self._out = self._out, outer
        return "".join(outer)

    def _link(self, node: Any) -> None:
        target = str(node.title).strip()
        prefix, colon, _ = target.partition(":")
        prefix = prefix.strip()
        if colon and prefix.lower() in self._dropped:
            return
        label = self._inside(node.text.nodes) if node.text is not None else ""
        if not label.strip():
            if colon and _OTHER_WIKI.fullmatch(prefix):
                return
            label = self._inside(node.title.nodes).strip().removeprefix(":")
        self._out.append(label)

    def _tag(self, node: Any) -> None:
        name = str(node.tag).strip().lower()
        if name in _DROPPED:
            self._out.append("\n" if name == "table" else "")
        elif name in _VERBATIM or name in ("nowiki", "math"):
            self._keep(name, str(node.contents or ""))
        elif name in ("br", "hr"):
            self._out.append("\n")
        elif node.wiki_markup in ("*", "#"):
            self._item()
        elif node.wiki_markup in (";", ":"):
            if self._out and not self._out[-1].endswith("\n") and self._out[-1] != "- ":
                self._out[-1] = self._out[-1].rstrip(" ")
                self._out.append(": ")
        elif name in ("li", "dd", "dt"):
            self._out.append("\n")
            self._item()
            self.walk(node.contents.nodes if node.contents is not None else ())
        else:
            line = "\n" if name in _BLOCKS else ""
            self._out.append(line)
            self.walk(node.contents.nodes if node.contents is not None else ())
            self._out.append(line)

    def _item(self) -> None:
        if not self._out or self._out[-1] != "- ":  # `**` are two tags
            self._out.append("- ")

    def _keep(self, name: str, text: str) -> None:
        if name in ("nowiki", "pre"):
            text = html.unescape(text)
        if not text.strip():
            return
        text = f"${text.strip()}$" if name == "math" else text
        mark = f"{_KEPT}{len(self._kept)}{_KEPT}"
        if name in _VERBATIM and "\n" in text:
            mark, text = f"\n{mark}\n", text.strip("\n")
        self._kept.append(text)
        self._out.append(mark)

    def text(self) -> str:
        """All of it, tidied: one space, at most one empty line, no heading without text, no line of a torn table."""
        out: list[str] = []
        waiting: list[tuple[int, str]] = []  # headings that no text has followed yet
        in_table = False
        for line in "".join(self._out).split("\n"):
            if line.startswith(_HEADING):
                level = int(line[1])
                waiting = [(n, title) for n, title in waiting if n < level]
                waiting.append((level, _tidy(line[2:])))
                in_table = False
                continue
            line = _tidy(line)
            if in_table or line.startswith("{|"):  # a table without its end is text to the parser
                in_table = not line.startswith("|}")
                if line.startswith(("{|", "|", "!")):
                    continue
            if line in ("", "-", ":"):
                if out and out[-1] and not waiting:
                    out.append("")
                continue
            for _, title in waiting:
                if title:
                    out.extend(["", title] if out and out[-1] else [title])
            waiting = []
            out.append(line)
        while out and not out[-1]:
            out.pop()
        return _KEPT_MARK.sub(lambda mark: self._kept[int(mark[1])], "\n".join(out)).rstrip()


def _tidy(line: str) -> str:
    line = _NO_BRACKETS.sub("", " ".join(line.split()))
    return _BEFORE_POINT.sub("", line).strip()


def _entity(node: Any) -> str:
    try:
        character = str(node.normalize())
    except (ValueError, OverflowError):
        return ""
    return "" if character in (_KEPT, _HEADING) else character
