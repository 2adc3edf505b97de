/* The page: what was asked for last, kept up to date. */

import { button, byId, download, element, facts } from "ac/dom";
import { choose, chosenTrials, showComparison, showModel } from "ac/model";
import { draw, reink, resize, savePng } from "ac/plots";
import * as source from "ac/source";
import { onChange, set, state } from "ac/state";
import { fillTable } from "ac/tables";
import { drawPareto, drawSpace, fillChoices, fillPicks, fillSliders } from "ac/tradeoff";

const EVERY_MS = 2000;
let data = null; // the overview
let more = {}; // the documents of the views that were looked at: trials, space, figures
let drawnFigures = null; // those that are on the page

function problem(text) {
  byId("problem").hidden = !text;
  byId("problem").textContent = text;
}

function opener(row, tr) {
  if (!/^\d+$/.test(row[0].text)) return;
  tr.firstChild.replaceChildren(button(row[0].text, () => set({ trial: row[0].text }), { className: "open" }));
}

function tickable(row, tr) {
  opener(row, tr);
  if (!/^\d+$/.test(row[0].text)) return;
  const tick = element("input", { type: "checkbox", "aria-label": `compare trial ${row[0].text}` });
  tick.checked = chosenTrials().includes(row[0].text);
  tick.addEventListener("change", () => choose(row[0].text, tick.checked));
  tr.firstChild.prepend(tick, " ");
}

function fillHead() {
  byId("study").textContent = data.study;
  document.title = `${data.study} · autocompress`;
  byId("state").textContent = data.state.text;
  byId("state").className = `badge ${data.state.kind}`;
  byId("facts").textContent = data.facts.join(" · ");
  byId("progress").hidden = data.state.kind === "finished";
  byId("progress").max = data.state.wanted || 1;
  byId("progress").value = data.state.wanted ? data.state.done : 0;
  byId("baseline").replaceChildren(data.baseline.length ? facts(data.baseline) : "Not measured yet.");
  byId("machine").replaceChildren(...facts(data.machine).children);
  byId("study-file").textContent = data.study_file;
  byId("objectives").textContent = data.objectives;
  byId("footer").textContent = `${data.folder} · read ${data.made} · autocompress ${data.version}`;
}

function fillTables() {
  fillTable(document.querySelector('[data-table="front"]'), data.front, { decorate: tickable });
  fillTable(document.querySelector('[data-table="controls"]'), data.controls);
  byId("controls-section").hidden = data.controls.rows.length === 0;
  fillTable(document.querySelector('[data-table="states"]'), data.states, { decorate: wordOf });
  fillChosen();
}

/* A state leads to its trials. */
function wordOf(row, tr) {
  const state = row[0].text;
  tr.firstChild.replaceChildren(button(state, () => {
    byId("filter").value = state;
    fillTrials();
    set({ view: "trials" });
  }, { className: "open" }));
}

function fillTrials() {
  if (!more.trials) return;
  const home = document.querySelector('[data-table="trials"]');
  const n = fillTable(home, more.trials, { filter: byId("filter").value, decorate: opener });
  byId("shown").textContent = `${n} of ${more.trials.rows.length} trials${n > 500 ? ", the first 500 shown" : ""}`;
}

function fillChosen() {
  const chosen = chosenTrials();
  byId("compare").disabled = chosen.length < 2;
  byId("chosen").textContent = chosen.length ? `trials ${chosen.join(", ")}; up to four` : "";
}

function fillTradeoff() {
  const { tradeoff, pareto } = data;
  fillPicks(tradeoff);
  byId("pareto").hidden = Boolean(state.three);
  byId("space").hidden = !state.three;
  if (state.view !== "tradeoff") return;
  if (state.three) {
    if (more.space) drawSpace(tradeoff, more.space).then(clickable(byId("space")));
  } else {
    drawPareto(tradeoff, pareto).then(clickable(byId("pareto")));
  }
}

/* A click on a point opens its model. */
function clickable(home) {
  return () => {
    if (home.dataset.clickable) return;
    home.dataset.clickable = "yes";
    home.on("plotly_click", ({ points }) => {
      const trial = points.map((point) => point.customdata).find((n) => n !== undefined && n !== null);
      if (trial !== undefined) set({ trial: String(trial) });
    });
  };
}

function drawStudy() {
  if (state.view !== "study" || !more.figures || drawnFigures === more.figures) return;
  for (const home of document.querySelectorAll("[data-figure]")) draw(home, more.figures[home.dataset.figure]);
  drawnFigures = more.figures;
}

function showView() {
  for (const panel of document.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== state.view;
  for (const tab of document.querySelectorAll("[data-view]")) {
    const here = tab.dataset.view === state.view;
    tab.setAttribute("aria-selected", here);
    tab.tabIndex = here ? 0 : -1;
  }
  if (data) fillTradeoff();
  drawStudy();
  resize();
}

function setTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = state.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  reink();
}

/* What the view needs beyond the overview. */
async function loadMore() {
  const what = { study: "figures", trials: "trials", tradeoff: state.three ? "space" : null }[state.view];
  if (!what) return;
  const { run } = state, fresh = await source.documentOf(run, what);
  if (!fresh || run !== state.run) return;
  more[what] = fresh;
  ({ figures: drawStudy, trials: fillTrials, space: fillTradeoff })[what]();
}

async function load() {
  try {
    const fresh = await source.documentOf(state.run, "overview");
    if (fresh) {
      data = fresh;
      fillHead();
      fillChoices(data.tradeoff);
      fillSliders(data.tradeoff);
      fillTables();
      fillTradeoff();
    }
    await loadMore();
    problem("");
  } catch (error) {
    problem(`${error.message}${source.live ? "; trying again" : ""}`);
  }
}

async function keepLoading() {
  await load();
  setTimeout(keepLoading, EVERY_MS);
}

function changed(names) {
  const any = (...some) => some.some((name) => names.includes(name));
  if (any("theme")) setTheme();
  if (any("run")) {
    source.forget();
    more = {};
    load();
  }
  if (!data) return;
  if (any("view")) showView();
  if (any("view", "three")) loadMore().catch((error) => problem(error.message));
  if (any("x", "y", "third", "as", "relative", "three", "budget")) fillTradeoff();
  if (any("compare")) fillChosen();
  if (any("trial")) showModel();
  if (any("side")) showComparison();
}

function listen() {
  for (const id of ["x", "y", "third", "as"]) byId(id).addEventListener("change", (e) => set({ [id]: e.target.value }));
  for (const id of ["relative", "three"]) byId(id).addEventListener("change", (e) => set({ [id]: e.target.checked ? "1" : "" }));
  byId("reset").addEventListener("click", () => {
    set({ budget: "" });
    fillSliders(data.tradeoff);
  });
  byId("compare").addEventListener("click", () => set({ side: "1" }));
  byId("png").addEventListener("click", () => savePng(byId(state.three ? "space" : "pareto")));
  byId("filter").addEventListener("input", fillTrials);
  byId("csv").addEventListener("click", async () => download(`${data.study}.csv`, await source.csv(state.run), "text/csv"));
  byId("run").addEventListener("change", (e) => set({ run: e.target.value, trial: "", compare: "" }));
  byId("theme").addEventListener("click", () => {
    set({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" });
  });
  const tabs = [...document.querySelectorAll("[data-view]")];
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => set({ view: tab.dataset.view }));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      set({ view: next.dataset.view });
      next.focus();
    });
  });
}

async function start() {
  onChange(changed);
  setTheme();
  listen();
  const names = await source.runs();
  byId("warning").hidden = !source.warning;
  byId("warning").textContent = source.warning;
  if (!names.includes(state.run)) set({ run: names[0] });
  byId("run").replaceChildren(...names.map((text) => element("option", { text, value: text })));
  byId("run").value = state.run;
  byId("run-choice").hidden = names.length < 2;
  await load();
  showView();
  showModel();
  if (state.side) showComparison();
  document.documentElement.dataset.ready = "yes";
  if (source.live) setTimeout(keepLoading, EVERY_MS);
}

start().catch((error) => problem(error.message));
