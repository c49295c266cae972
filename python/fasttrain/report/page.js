// Draws every figure of the page from the JSON beside it, in the colours of the page, and again when those change.
(function () {
  "use strict";
  const root = document.documentElement;
  root.dataset.errors = "0";
  window.addEventListener("error", () => { root.dataset.errors = String(Number(root.dataset.errors) + 1); });
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function axis(given) {
    return Object.assign({ gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"),
      automargin: true, title: { font: { size: 12 } } }, given || {});
  }

  function layout(given) {
    const out = Object.assign({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 52, r: 16, t: 30, b: 40 },
      font: { family: "system-ui, sans-serif", size: 12, color: colour("--ink") }, hovermode: "x unified",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      colorway: ["#3b7ddd", "#e08a1e", "#2a9d74", "#c8457c", "#8a63d2", "#58a6c7", "#b0902c", "#8a8f98", "#6f9a2c", "#d1604d", "#1f8f93", "#7d5a3c"],
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    }, given);
    for (const key of ["xaxis", "yaxis", "yaxis2"]) if (key !== "yaxis2" || given[key]) out[key] = axis(given[key]);
    return out;
  }

  function draw() {
    const all = document.querySelectorAll("script[data-plot]");
    const done = Array.from(all, (script) => {
      const figure = JSON.parse(script.textContent);
      return Plotly.react(script.dataset.plot, figure.data, layout(figure.layout), { displaylogo: false, responsive: true,
        displayModeBar: false });
    });
    Promise.all(done).then(() => { root.dataset.plots = String(all.length); });
  }

  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
