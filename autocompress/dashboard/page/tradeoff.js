/* The trade-off: other metrics on the axes, budgets that dim, picks that are ringed.

   The figure comes from Python. Each of its traces names its kind and the rows of the run's
   columns that it shows; here their values are taken from other columns. */

import { button, byId, element } from "ac/dom";
import { draw } from "ac/plots";
import { set, state } from "ac/state";

export const PICKS = ["accurate", "fast", "small", "balanced"];
const METRICS = ["accuracy", "latency_ms", "parameters", "size_bytes", "macs"];
const BUDGETS = [
  { metric: "latency_ms", words: "latency at most", way: "most" },
  { metric: "parameters", words: "parameters at most", way: "most" },
  { metric: "accuracy", words: "accuracy at least", way: "least" },
];
const BALANCED_DROP = 0.01; // of accuracy, as in autocompress.study.picks
const SIZES = [8, 26];

export function amount(metric, value) {
  if (value === null || value === undefined) return "-";
  if (metric === "accuracy") return `${(100 * value).toFixed(2)} %`;
  if (metric === "latency_ms") return `${value.toPrecision(3)} ms`;
  const [size, prefix] = value >= 1e9 ? [1e9, " G"] : value >= 1e6 ? [1e6, " M"] : value >= 1e3 ? [1e3, " k"] : [1, ""];
  return `${Number((value / size).toPrecision(3))}${prefix}`;
}

function shownColumn(data, metric) {
  const name = state.relative && data.relative[metric] in data.columns ? data.relative[metric] : metric;
  return data.columns[name];
}

/* Rows within the budget; a row without a value is not. */
function within(data, row) {
  return BUDGETS.every(({ metric, way }) => {
    if (state[metric] === "") return true;
    const value = data.columns[metric]?.values[row], bound = Number(state[metric]);
    return value !== null && value !== undefined && (way === "most" ? value <= bound : value >= bound);
  });
}

/* The best rows of the front within the budget: as autocompress.study.picks chooses them. */
export function picksOf(data) {
  const rows = data.points.kind.flatMap((kind, row) => (kind === "front" && within(data, row) ? [row] : []));
  if (!rows.length) return {};
  const value = (metric) => (row) => data.columns[metric].values[row];
  const [accuracy, latency, parameters] = ["accuracy", "latency_ms", "parameters"].map(value);
  const merits = {
    accurate: accuracy, fast: (row) => -latency(row), small: (row) => -parameters(row),
    balanced: (row) => (accuracy(row) < data.baseline_accuracy - BALANCED_DROP
      ? accuracy(row) - 2
      : -value("latency_ratio")(row) * value("parameter_ratio")(row)),
  };
  const best = (merit) => rows.reduce((found, row) => (merit(row) > merit(found) ? row : found));
  return Object.fromEntries(PICKS.map((how) => [how, best(merits[how])]));
}

function edgeOf(rows, across, up) {
  const [signX, signY] = [across, up].map((column) => (column.higher_is_better ? -1 : 1));
  const ordered = [...rows].sort((a, b) =>
    signX * (across.values[a] - across.values[b]) || signY * (up.values[a] - up.values[b]));
  let best = Infinity;
  return ordered.filter((row) => {
    const better = signY * up.values[row] < best;
    if (better) best = signY * up.values[row];
    return better;
  });
}

function bars(column, rows, template) {
  if (!column.low || !column.high) return { visible: false };
  return {
    ...template, type: "data", symmetric: false, visible: true, thickness: 1, width: 2, color: "rgba(128,128,128,0.45)",
    array: rows.map((row) => column.high[row] - column.values[row]),
    arrayminus: rows.map((row) => column.values[row] - column.low[row]),
  };
}

function thirdOf(column, rows) {
  const scaled = column.layout.type === "log" ? Math.log10 : (value) => value;
  const values = rows.map((row) => scaled(column.values[row]));
  if (state.as === "size") {
    const low = Math.min(...values), span = Math.max(...values) - low || 1;
    return { color: "#0072B2", showscale: false, size: values.map((v) => SIZES[0] + ((v - low) * (SIZES[1] - SIZES[0])) / span) };
  }
  return { color: values, size: 13, colorscale: "Viridis", showscale: new Set(values).size > 1, colorbar: column.colour_bar };
}

function moved(trace, data, across, up) {
  const { kind, rows } = trace.meta ?? {};
  if (kind === "baseline") return { ...trace, x: [across.baseline], y: [up.baseline] };
  if (!rows) return trace;
  if (kind === "edge") {
    const front = data.points.kind.flatMap((own, row) => (own === "front" ? [row] : []));
    const edge = edgeOf(front, across, up);
    return { ...trace, x: edge.map((row) => across.values[row]), y: edge.map((row) => up.values[row]) };
  }
  const own = { ...trace, x: rows.map((row) => across.values[row]), y: rows.map((row) => up.values[row]) };
  const third = kind === "front" ? thirdOf(shownColumn(data, state.third), rows) : {};
  own.marker = { ...trace.marker, ...third, opacity: rows.map((row) => (within(data, row) ? 1 : 0.12)) };
  if (kind === "front") {
    own.error_x = bars(across, rows, trace.error_x);
    own.error_y = bars(up, rows, trace.error_y);
  }
  return own;
}

function axisOf(base, column) {
  const { type, dtick, range, ...rest } = base;
  const title = { ...base.title, ...column.layout.title }; // a distance from the ticks stays
  return { ...rest, ...column.layout, title, type: column.layout.type ?? "linear" };
}

/* In space a point is dimmed by its colour: it has no opacity of its own. */
function movedInSpace(trace, data, columns) {
  const { kind, rows } = trace.meta ?? {};
  const at = (values) => Object.fromEntries(["x", "y", "z"].map((axis, i) => [axis, values(columns[i])]));
  if (kind === "baseline") return { ...trace, ...at((column) => [column.baseline]) };
  const dim = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
  const color = rows.map((row) => (within(data, row) ? trace.marker.color : dim));
  return { ...trace, ...at((column) => rows.map((row) => column.values[row])), marker: { ...trace.marker, color } };
}

export function drawSpace(data, figure) {
  const home = byId("space"), columns = [state.x, state.third, state.y].map((metric) => shownColumn(data, metric));
  const current = figure.data.every((trace) => (trace.meta.rows ?? []).every((row) => row < data.points.trial.length));
  if (!figure.data.length || !current || columns.some((column) => !column)) return draw(home, figure);
  const { xaxis, yaxis, zaxis, ...scene } = figure.layout.scene;
  const axes = [xaxis, yaxis, zaxis].map((axis, i) => axisOf(axis, columns[i]));
  const rings = ringed(data, columns[0], columns[1], columns[2]);
  return draw(home, {
    data: [...figure.data.map((trace) => movedInSpace(trace, data, columns)), rings],
    layout: {
      ...figure.layout, title: { text: "" }, uirevision: "space",
      scene: { ...scene, xaxis: axes[0], yaxis: axes[1], zaxis: axes[2] },
    },
  });
}

function shapesOf(columns) {
  const shapes = [];
  for (const [axis, other, column] of [["x", "y", columns[0]], ["y", "x", columns[1]]]) {
    const shown = [...column.values, column.baseline].filter((value) => value !== null && value !== undefined);
    for (const [name, bound] of Object.entries(column.bounds)) {
      const far = name === "most" ? Math.max(...shown, bound) : Math.min(...shown, bound);
      const end = far + (far - bound || (name === "most" ? 0.05 : -0.05) * Math.abs(bound));
      shapes.push({
        type: "rect", layer: "below", line: { width: 0 }, fillcolor: "rgba(213,94,0,0.08)",
        [`${axis}ref`]: axis, [`${other}ref`]: "paper", [`${axis}0`]: bound, [`${axis}1`]: end, [`${other}0`]: 0, [`${other}1`]: 1,
      });
    }
  }
  const up = columns[1];
  if (state.y === "accuracy" && up.baseline !== null) {
    shapes.push({
      type: "line", layer: "below", xref: "paper", x0: 0, x1: 1, y0: up.baseline, y1: up.baseline,
      line: { color: "#D55E00", width: 1, dash: "dot" },
      label: { text: "no loss", textposition: "start", font: { size: 11 } },
    });
  }
  return shapes;
}

/* Whether a text to the left of a point would leave the plot. */
function atLeft(column, row) {
  const [low, high] = column.layout.range ?? [0, 0], value = column.values[row];
  return ((column.layout.type === "log" ? Math.log10(value) : value) - low) / (high - low) < 0.15;
}

function ringed(data, across, up, above) {
  const names = new Map();
  for (const [how, row] of Object.entries(picksOf(data))) names.set(row, [...(names.get(row) ?? []), how]);
  const rows = [...names.keys()];
  return {
    x: rows.map((row) => across.values[row]), y: rows.map((row) => up.values[row]),
    ...(above ? { type: "scatter3d", z: rows.map((row) => above.values[row]) } : {}),
    text: rows.map((row) => names.get(row).join(", ")), textposition: rows.map((row) => (above || atLeft(across, row) ? "bottom center" : "top left")), textfont: { size: 11 },
    mode: "markers+text", cliponaxis: false, hoverinfo: "skip", showlegend: false, name: "picks", meta: { kind: "picks" },
    customdata: rows.map((row) => data.points.trial[row]),
    marker: { symbol: "circle-open", size: above ? 14 : 23, color: "#D55E00", line: { width: 2 } },
  };
}

export function drawPareto(data) {
  const home = byId("pareto"), across = shownColumn(data, state.x), up = shownColumn(data, state.y);
  const started = data.pareto.data.some((trace) => trace.meta);
  if (!started || !across || !up) return draw(home, data.pareto);
  const { xaxis, yaxis } = data.pareto.layout;
  return draw(home, {
    data: [...data.pareto.data.map((trace) => moved(trace, data, across, up)), ringed(data, across, up)],
    layout: {
      ...data.pareto.layout, title: { text: "" }, margin: { ...data.pareto.layout.margin, t: 40 }, xaxis: axisOf(xaxis, across), yaxis: axisOf(yaxis, up),
      shapes: shapesOf([across, up]), uirevision: [state.x, state.y, state.relative].join(),
    },
  });
}

export function fillChoices(data) {
  const there = METRICS.filter((metric) => metric in data.columns);
  for (const id of ["x", "y", "third"]) {
    const names = there.map((metric) => {
      const made = element("option", { value: metric, text: data.columns[metric].title.split(" (")[0] });
      made.selected = state[id] === metric;
      return made;
    });
    byId(id).replaceChildren(...names);
  }
  byId("choices").hidden = !there.length;
  byId("as").value = state.as;
  byId("relative").checked = Boolean(state.relative);
  byId("three").checked = Boolean(state.three);
}

/* A slider steps through the values that there are; its end is no bound. */
export function fillSliders(data) {
  byId("sliders").replaceChildren(...BUDGETS.flatMap(({ metric, words, way }) => {
    const column = data.columns[metric];
    if (!column) return [];
    const rows = column.values.filter((value, row) => value !== null && ["front", "dominated"].includes(data.points.kind[row]));
    const steps = [...new Set(rows)].sort((a, b) => a - b);
    if (steps.length < 2) return [];
    const free = way === "most" ? steps.length - 1 : 0;
    const output = element("output", { for: `budget-${metric}` });
    const slider = element("input", {
      id: `budget-${metric}`, type: "range", min: 0, max: steps.length - 1, step: 1, "data-metric": metric,
    });
    const told = () => {
      output.textContent = state[metric] === "" ? "any" : amount(metric, Number(state[metric]));
      slider.setAttribute("aria-valuetext", output.textContent);
    };
    const at = way === "most"
      ? steps.findLastIndex((value) => value <= Number(state[metric]))
      : steps.findIndex((value) => value >= Number(state[metric]));
    slider.value = state[metric] === "" ? free : at < 0 ? (way === "most" ? 0 : steps.length - 1) : at;
    slider.addEventListener("input", () => {
      set({ [metric]: Number(slider.value) === free ? "" : String(steps[slider.value]) });
      told();
    });
    told();
    return [element("div", { className: "slider" }, [
      element("label", { for: `budget-${metric}` }, [element("span", { text: words }), output]), slider,
    ])];
  }));
}

const times = (factor) => `${factor.toFixed(factor < 9.95 ? 1 : 0)}x`;

export function fillPicks(data) {
  const found = picksOf(data);
  const cards = Object.entries(found).map(([how, row]) => {
    const trial = data.points.trial[row], of = (metric) => data.columns[metric].values[row];
    const change = 100 * (of("accuracy") - data.baseline_accuracy);
    return button("", () => set({ trial: String(trial) }), { className: "pick", "data-pick": how, "data-trial": trial })
      .appendChild(element("div", {}, [
        element("b", {}, [element("span", { text: how }), element("span", { text: `trial ${trial}` })]),
        element("span", { text: `${amount("accuracy", of("accuracy"))} (${change >= 0 ? "+" : ""}${change.toFixed(2)} points)` }),
        element("span", { text: `${times(1 / of("latency_ratio"))} faster · ${times(1 / of("parameter_ratio"))} smaller` }),
      ])).parentNode;
  });
  const text = data.points.kind.includes("front") ? "No model of the front is within this budget." : "No model yet.";
  const nothing = element("p", { className: "quiet", text });
  byId("picks").replaceChildren(...(cards.length ? cards : [nothing]));
}
