"""Figures as plotly JSON: built here, drawn by page.js in the page's colours."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fasttrain.report.html import Html, tag

MARK = "#c0392b"  # what went wrong, on every figure
NUM_COLOURS = 12  # of page.js's colorway; curves beyond them take the same colours with other strokes
STROKES = ("solid", "dot", "dash", "longdash", "dashdot")


class Figures:
    """Numbers the figures of one page."""

    def __init__(self) -> None:
        self.count = 0

    def figure(self, title: str, data: list[dict[str, Any]], layout: dict[str, Any], *, height: int = 320) -> Html:
        """One figure with its caption; `title` is also what a screen reader says."""
        self.count += 1
        name = f"plot-{self.count}"
        # "</" would end the script element wherever it stands in a text.
        text = json.dumps({"data": data, "layout": layout}, ensure_ascii=True, allow_nan=False).replace("</", "<\\/")
        return tag(
            "figure",
            tag("figcaption", title),
            tag("div", id=name, class_="plot", style=f"height:{height}px", role="img", aria_label=title),
            tag("script", Html(text), type="application/json", data_plot=name),
        )

    def lines(
        self,
        title: str,
        curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
        *,
        y: str,
        x: str = "step",
        from_zero: bool = False,
        markers: Sequence[str] = (),
        marks: Sequence[tuple[float, float, str]] = (),
        mark_name: str = "guard",
    ) -> Html:
        """Curves over steps; `markers` names those shown as points too, `marks` are (step, value, text)."""
        data: list[dict[str, Any]] = [
            {"type": "scatter", "mode": "lines+markers" if name in markers else "lines", "name": name, "x": list(at),
             "y": list(v), "line": {"width": 1.6, "dash": STROKES[k // NUM_COLOURS % len(STROKES)]},
             "marker": {"size": 5}}
            for k, (name, (at, v)) in enumerate((n, c) for n, c in curves.items() if len(c[0]))
        ]  # fmt: skip
        if marks:
            data.append(
                {"type": "scatter", "mode": "markers", "name": mark_name, "x": [m[0] for m in marks],
                 "y": [m[1] for m in marks], "text": [m[2] for m in marks], "hovertemplate": "%{text}",
                 "marker": {"color": MARK, "size": 9, "symbol": "x"}}
            )  # fmt: skip
        layout: dict[str, Any] = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
        layout["showlegend"] = len(data) > 1
        if from_zero:
            layout["yaxis"] |= {"rangemode": "tozero"}
        return self.figure(title, data, layout)

    def bars(
        self, title: str, groups: Mapping[str, Mapping[str, float | None]], *, y: str, stacked: bool = False
    ) -> Html:
        """Bars: name of the series -> label -> value."""
        labels = list(dict.fromkeys(label for values in groups.values() for label in values))
        data = [
            {"type": "bar", "name": name, "x": labels, "y": [values.get(label) for label in labels],
             "textposition": "none"}
            for name, values in groups.items()
        ]  # fmt: skip
        layout = {"barmode": "stack" if stacked else "group", "yaxis": {"title": {"text": y}},
                  "xaxis": {"type": "category"}, "showlegend": len(groups) > 1, "bargap": 0.25}  # fmt: skip
        return self.figure(title, data, layout)

    def ranked(self, title: str, values: Mapping[str, float], *, x: str) -> Html:
        """Horizontal bars, the largest on top."""
        items = sorted(values.items(), key=lambda kv: kv[1])
        data = [{"type": "bar", "orientation": "h", "y": [k for k, _ in items], "x": [v for _, v in items]}]
        layout = {"xaxis": {"title": {"text": x}}, "yaxis": {"type": "category"}, "hovermode": "closest"}  # fmt: skip
        return self.figure(title, data, layout, height=80 + 26 * len(items))
