/* The trade-off: other metrics on the axes, budgets that dim, picks that are ringed.

   Everything comes from Python: the figure, whose traces name the rows that they show; for each
   metric a column of values, bars, colours and sizes; for each two metrics the edge of the front;
   for each pick a ranking of the front. Here rows are looked up, and compared with bounds. */

import { button, byId, element } from "ac/dom";
import { draw } from "ac/plots";
import { budget, set, setBound, state } from "ac/state";

/* The metric that stands on an axis: the chosen one where this run has it, or else the run's own. */
const chosen = (data, axis) => (data.columns[state[axis]] ? state[axis] : data.axes[axis]);

function shown(data, axis) {
  const choice = data.choices.find(({ name }) => name === chosen(data, axis));
  return choice && data.columns[(state.relative && choice.relative) || choice.name];
}

/* Rows within the budget; a row without a value is not. */
function within(data, row) {
  return data.sliders.every(({ metric, way }) => {
    const bound = budget()[metric], value = data.columns[metric]?.values[row];
    if (bound === undefined) return true;
    return value !== null && value !== undefined && (way === "most" ? value <= bound : value >= bound);
  });
}

/* Of each ranking the first that is within the budget: [name of the pick, row]. */
export function picksOf(data) {
  const found = data.rankings.map(({ how, rows }) => [how, rows.find((row) => within(data, row))]);
  return found.filter(([, row]) => row !== undefined);
}

const at = (column, rows) => rows.map((row) => column.values[row]);

function bars(column, rows, template) {
  if (!column.above) return { ...template, visible: false };
  return { ...template, visible: true, array: rows.map((row) => column.above[row]), arrayminus: rows.map((row) => column.below[row]) };
}

function moved(trace, data, across, up) {
  const { kind, rows } = trace.meta ?? {};
  if (kind === "baseline") return { ...trace, x: [across.baseline], y: [up.baseline] };
  if (!rows) return trace;
  if (kind === "edge") {
    const edge = data.edges[chosen(data, "x")]?.[chosen(data, "y")] ?? [];
    return { ...trace, x: at(across, edge), y: at(up, edge) };
  }
  const own = { ...trace, x: at(across, rows), y: at(up, rows) };
  const third = kind === "front" ? shown(data, "third")?.markers[state.as] : {};
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
  const along = (values) => Object.fromEntries(["x", "y", "z"].map((axis, i) => [axis, values(columns[i])]));
  if (kind === "baseline") return { ...trace, ...along((column) => [column.baseline]) };
  const dim = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
  const color = rows.map((row) => (within(data, row) ? trace.marker.color : dim));
  return { ...trace, ...along((column) => at(column, rows)), marker: { ...trace.marker, color } };
}

export function drawSpace(data, figure) {
  const home = byId("space");
  const columns = ["x", "third", "y"].map((axis) => shown(data, axis) ?? data.columns[figure.layout.meta?.third]);
  const current = figure.data.every((trace) => (trace.meta.rows ?? []).every((row) => row < data.trial.length));
  if (!figure.data.length || !current || columns.some((column) => !column)) return draw(home, figure);
  const { xaxis, yaxis, zaxis, ...scene } = figure.layout.scene;
  const axes = [xaxis, yaxis, zaxis].map((axis, i) => axisOf(axis, columns[i]));
  return draw(home, {
    data: [...figure.data.map((trace) => movedInSpace(trace, data, columns)), ringed(data, ...columns)],
    layout: {
      ...figure.layout, title: { text: "" }, uirevision: "space",
      scene: { ...scene, xaxis: axes[0], yaxis: axes[1], zaxis: axes[2] },
    },
  });
}

/* Rings around the picks: of two columns in the plane, of three in space. */
function ringed(data, ...columns) {
  const names = new Map();
  for (const [how, row] of picksOf(data)) names.set(row, [...(names.get(row) ?? []), how]);
  const rows = [...names.keys()], space = columns.length > 2, [across] = columns;
  return {
    ...Object.fromEntries(columns.map((column, i) => ["xyz"[i], at(column, rows)])), ...(space ? { type: "scatter3d" } : {}),
    text: rows.map((row) => names.get(row).join(", ")), textfont: { size: 11 },
    textposition: rows.map((row) => (space || across.near_left.includes(row) ? "bottom center" : "top left")),
    mode: "markers+text", cliponaxis: false, hoverinfo: "skip", showlegend: false, name: "picks", meta: { kind: "picks" },
    customdata: rows.map((row) => data.trial[row]),
    marker: { symbol: "circle-open", size: space ? 14 : 23, color: "#D55E00", line: { width: 2 } },
  };
}

export function drawPareto(data, figure) {
  const home = byId("pareto"), across = shown(data, "x"), up = shown(data, "y");
  const started = figure.data.some((trace) => trace.meta);
  if (!started || !across || !up) return draw(home, figure);
  const { xaxis, yaxis, margin } = figure.layout;
  return draw(home, {
    data: [...figure.data.map((trace) => moved(trace, data, across, up)), ringed(data, across, up)],
    layout: {
      ...figure.layout, title: { text: "" }, margin: { ...margin, t: 40 }, xaxis: axisOf(xaxis, across), yaxis: axisOf(yaxis, up),
      shapes: [...across.shapes.x, ...up.shapes.y], uirevision: [chosen(data, "x"), chosen(data, "y"), state.relative].join(),
    },
  });
}

export function fillChoices(data) {
  for (const axis of ["x", "y", "third"]) {
    const names = data.choices.map(({ name, title }) => element("option", { value: name, text: title }));
    if (axis === "third" && !data.axes.third) names.unshift(element("option", { value: "", text: "none" }));
    byId(axis).replaceChildren(...names);
    byId(axis).value = chosen(data, axis) ?? "";
  }
  byId("choices").hidden = !data.choices.length;
  byId("as").value = state.as;
  byId("relative").checked = Boolean(state.relative);
  byId("three").checked = Boolean(state.three);
}

/* A slider steps through the values that there are; its end is no bound. */
export function fillSliders(data) {
  byId("sliders").replaceChildren(...data.sliders.map(({ metric, text, way, steps }) => {
    const id = `budget-${metric}`, free = way === "most" ? steps.length - 1 : 0, bound = budget()[metric];
    const output = element("output", { for: id });
    const slider = element("input", { id, type: "range", min: 0, max: steps.length - 1, step: 1, "data-metric": metric });
    const write = () => {
      output.textContent = Number(slider.value) === free ? "any" : steps[slider.value].text;
      slider.setAttribute("aria-valuetext", output.textContent);
    };
    const near = way === "most"
      ? Math.max(0, steps.findLastIndex(({ value }) => value <= bound))
      : steps.findIndex(({ value }) => value >= bound);
    slider.value = bound === undefined ? free : near < 0 ? steps.length - 1 : near;
    slider.addEventListener("input", () => {
      setBound(metric, Number(slider.value) === free ? undefined : steps[slider.value].value);
      write();
    });
    write();
    return element("div", { className: "slider" }, [
      element("label", { for: id }, [element("span", { text }), output]), slider,
    ]);
  }));
}

export function fillPicks(data) {
  const cards = picksOf(data).map(([how, row]) => {
    const trial = data.trial[row];
    const made = button("", () => set({ trial: String(trial) }), { className: "pick", "data-pick": how, "data-trial": trial });
    const head = element("b", {}, [element("span", { text: how }), element("span", { text: `trial ${trial}` })]);
    made.append(element("div", {}, [head, ...data.cards[row].map((text) => element("span", { text }))]));
    return made;
  });
  const text = data.kind.includes("front") ? "No model of the front is within this budget." : "No model yet.";
  byId("picks").replaceChildren(...(cards.length ? cards : [element("p", { className: "quiet", text })]));
}
