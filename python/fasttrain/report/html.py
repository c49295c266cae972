"""HTML that is escaped unless it was built here: plain `str` is text, `Html` is markup."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FOLDED = 16  # a longer table of plain data is shown when it is asked for
_VOID = {"br", "hr", "img", "meta", "link"}


class Html(str):
    """Markup. Made by `tag` and `join`; everything else is text and is escaped when it is put into markup."""

    __slots__ = ()


def escape(value: Any) -> Html:
    """The value as text that any browser shows literally."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """`tag("a", "text", href="#x", class_="y")`; a trailing underscore is dropped, an inner one a dash."""
    given = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items() if v is not None and v is not False}
    text = "".join(f" {k}" if v is True else f' {k}="{html.escape(str(v), quote=True)}"' for k, v in given.items())
    if name in _VOID:
        return Html(f"<{name}{text}>")
    return Html(f"<{name}{text}>{join(children)}</{name}>")


def join(parts: Iterable[Any], between: str = "") -> Html:
    """The parts one after another, texts escaped."""
    return Html(between.join(escape(p) for p in parts))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "", numbers: Sequence[int] = ()
) -> Html:
    """A table in a box that scrolls by itself on narrow screens; `numbers` are the columns set flush right."""
    kind = ["n" if i in numbers else None for i in range(len(columns))]
    head = tag("tr", *(tag("th", c, class_=k, scope="col") for c, k in zip(columns, kind)))
    body = [
        tag("tr", *(tag("td", cell(v), class_=k or ("t" if _is_long(v) else None)) for v, k in zip(row, kind)))
        for row in rows
    ]
    inner = [tag("caption", caption)] if caption else []
    return tag(
        "div",
        tag("table", *inner, tag("thead", head), tag("tbody", *body)),
        class_="scroll", tabindex="0", role="region", aria_label=caption or "table",
    )  # fmt: skip


def cell(value: Any) -> Any:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return value


def pairs(data: Mapping[str, Any]) -> Html:
    """Names and values, one line each."""
    return tag("dl", *(join([tag("dt", words(k)), tag("dd", cell(v))]) for k, v in data.items()))


def any_data(data: Any, *, depth: int = 0, limit: int = 200) -> Html:
    """Plain data of any form as tables: what a room wrote into its report is shown whole, whatever its keys."""
    if isinstance(data, Mapping):
        if data and all(isinstance(v, Mapping) for v in data.values()) and depth < 3:
            inner = list(dict.fromkeys(k for v in data.values() for k in v))
            if all(_is_plain(v.get(k)) for v in data.values() for k in inner):
                rows = [[name, *(v.get(k) for k in inner)] for name, v in list(data.items())[:limit]]
                made = table(["", *(words(k) for k in inner)], rows, numbers=range(1, len(inner) + 1))
                return made if len(rows) <= FOLDED else tag("details", tag("summary", f"{len(rows)} rows"), made)
        plain = {k: v for k, v in data.items() if _is_plain(v)}
        deep = {k: v for k, v in data.items() if not _is_plain(v) and v}
        return join(
            [
                pairs(plain) if plain else "",
                *(
                    join([tag("h4", words(k)), any_data(v, depth=depth + 1, limit=limit)])
                    for k, v in list(deep.items())[:limit]
                ),
            ]
        )
    if isinstance(data, Sequence) and not isinstance(data, str):
        items = list(data)[:limit]
        if items and all(isinstance(i, Mapping) and all(_is_plain(v) for v in i.values()) for i in items):
            keys = list(dict.fromkeys(k for i in items for k in i))
            return table([words(k) for k in keys], [[i.get(k) for k in keys] for i in items])
        if all(_is_plain(i) for i in items):
            return tag("p", ", ".join(str(cell(i)) for i in items))
        if all(isinstance(i, Sequence) and not isinstance(i, str) and all(_is_plain(v) for v in i) for i in items):
            width = max(len(i) for i in items)
            return table([""] * width, items)
        return join(any_data(i, depth=depth + 1, limit=limit) for i in items)
    return tag("p", cell(data))


def words(name: Any) -> str:
    """A key as words."""
    return str(name).replace("_", " ")


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Html) and len(value) > 40


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def number(value: float, unit: str = "") -> str:
    """1_234_567 -> 1.23 M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}".strip()


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{n} {u}" for n, u in parts if n]
    return " ".join(shown[:2])
