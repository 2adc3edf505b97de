/* Figures, drawn by plotly.js; their ink follows the page's light or dark theme. */

const drawn = new Set();
const narrow = () => innerWidth <= 700;

function ink() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  const [text, card, line] = [value("--ink"), value("--card"), value("--line")];
  return {
    font: { color: text }, title: { font: { color: text } }, legend: { font: { color: text } },
    hoverlabel: { bgcolor: card, font: { color: text }, bordercolor: line },
  };
}

function merged(base, over) {
  const made = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const both = value && typeof value === "object" && !Array.isArray(value);
    made[name] = both ? merged(base?.[name] ?? {}, value) : value;
  }
  return made;
}

/* Draw a figure, or bring the one that is there up to date. */
export function draw(home, figure) {
  let layout = merged(figure.layout, ink());
  layout = merged(layout, { xaxis: { automargin: true }, yaxis: { automargin: true } });
  if (narrow()) layout = merged(layout, { legend: { y: -0.22, yanchor: "top" }, margin: { b: 95, l: 44, r: 8 } });
  const data = narrow() ? figure.data.map((trace) => (trace.marker?.showscale ? { ...trace, marker: { ...trace.marker, showscale: false } } : trace)) : figure.data;
  const config = {
    responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
    toImageButtonOptions: { format: "png", scale: 2, filename: home.id || "figure" },
  };
  home.style.minHeight = layout.height ? `${layout.height}px` : "";
  drawn.add(home);
  return Plotly.react(home, data, layout, config);
}

export function forgetIn(parent) {
  for (const home of drawn) {
    if (!parent.contains(home)) continue;
    Plotly.purge(home);
    drawn.delete(home);
  }
}

export function reink() {
  for (const home of drawn) Plotly.relayout(home, flat(ink()));
}

function flat(nested, prefix = "") {
  return Object.entries(nested).reduce((all, [name, value]) => {
    const path = prefix + name;
    return { ...all, ...(typeof value === "object" ? flat(value, `${path}.`) : { [path]: value }) };
  }, {});
}

export function resize() {
  for (const home of drawn) if (home.offsetParent !== null) Plotly.Plots.resize(home);
}
