/* Figures, drawn by plotly.js; their ink follows the page's light or dark theme. */

const drawn = new Set();
const narrow = (home) => innerWidth <= 700 || (home.offsetWidth > 0 && home.offsetWidth <= 420);

function ink() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  const [text, card, line] = [value("--ink"), value("--card"), value("--line")];
  return {
    paper_bgcolor: card, font: { color: text }, title: { font: { color: text } }, legend: { font: { color: text } },
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

/* Panels that stand side by side come to stand one below the other. */
function stacked(layout) {
  const n = layout.meta?.columns ?? 1;
  if (n < 2) return layout;
  const rows = {};
  for (let i = 0; i < n; i += 1) {
    const suffix = i ? i + 1 : "", top = 1 - i / n;
    rows[`xaxis${suffix}`] = { domain: [0, 1] };
    rows[`yaxis${suffix}`] = { domain: [top - 1 / n + (i < n - 1 ? 0.35 / n : 0.1 / n), top], showticklabels: true };
  }
  return merged({ ...layout, height: (layout.height ?? 330) * (0.4 + 0.6 * n) }, rows);
}

/* On a narrow page, or in a narrow column, the legend goes below, two entries in a row, and a scale of colours above. */
function narrowed({ data, layout }) {
  const named = data.filter((trace) => trace.name && trace.showlegend !== false).length;
  const below = data.length > 1 && layout.showlegend !== false && named > 1 ? 22 * Math.ceil(named / 2) : 0;
  const low = stacked(layout), has = below && !low.scene;
  const bar = { orientation: "h", x: 0.5, xanchor: "center", y: 1.01, yanchor: "bottom", len: 1, thickness: 8, title: { side: "top" } };
  return {
    data: data.map((trace) => (trace.marker?.showscale ? merged(trace, { marker: { colorbar: bar } }) : trace)),
    layout: merged(low, {
      ...(low.height ? { height: low.height + below } : {}),
      legend: has ? { yref: "container", y: 0, yanchor: "bottom", entrywidth: 0.48, entrywidthmode: "fraction", font: { size: 11 } } : {},
      ...(low.scene ? { scene: { camera: { eye: { x: 2.2, y: -2.5, z: 1 } } } } : {}),
      margin: { l: low.scene ? 0 : 40, r: low.scene ? 0 : 10, ...(has ? { b: 48 + below } : {}) },
    }),
  };
}

/* Draw a figure, or bring the one that is there up to date. */
export function draw(home, figure) {
  const tight = narrow(home);
  const { data, layout: plain } = tight ? narrowed(figure) : figure;
  const layout = merged(plain, ink());
  const config = {
    responsive: true, displaylogo: false, displayModeBar: tight ? false : "hover", showTips: false,
    modeBarButtonsToRemove: ["lasso2d", "select2d"], showSendToCloud: false, plotlyServerURL: "",
    toImageButtonOptions: { format: "png", scale: 2, filename: home.id || "figure" },
  };
  home.style.minHeight = layout.height ? `${layout.height}px` : "";
  drawn.add(home);
  return Plotly.react(home, data, layout, config);
}

export function savePng(home) {
  return Plotly.downloadImage(home, { format: "png", scale: 2, filename: home.id, width: home.offsetWidth, height: home.offsetHeight });
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
