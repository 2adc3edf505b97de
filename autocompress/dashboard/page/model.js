/* One model, or several side by side. */

import { button, byId, command, element, facts } from "ac/dom";
import { draw, forgetIn } from "ac/plots";
import * as source from "ac/source";
import { set, state } from "ac/state";

const COMPARED = ["widths", "curve", "latency", "stages"];
let shown = ""; // the run and trial that the dialog shows

function head(id, title, close, more = []) {
  return element("div", { className: "dialog-head" }, [
    element("h2", { id, text: title }), element("div", { className: "tools" }, [...more, button("Close", close)]),
  ]);
}

function table(titles, rows) {
  const cell = (tag, content, i, more) => {
    const [text, beside] = [content].flat();
    const quiet = beside ? [element("span", { text: beside, className: "quiet" })] : [];
    return element(tag, { text, className: i ? "number" : "", ...more }, quiet);
  };
  const of = (tag, contents, more) => element("tr", {}, contents.map((content, i) => cell(tag, content, i, more)));
  return element("table", {}, [
    element("thead", {}, [of("th", titles, { scope: "col" })]), element("tbody", {}, rows.map((row) => of("td", row))),
  ]);
}

const numbers = (rows) =>
  table(["", "baseline", "this model", "change"], rows.map(({ title, baseline, value, change }) => [title, baseline, value, change]));

/* One row for each number that any of the models has; each model beside the baseline. */
function sideBySide(models) {
  const names = [...new Set(models.flatMap((model) => model.numbers.map(({ title }) => title)))];
  const rows = names.map((name) => {
    const found = models.map((model) => model.numbers.find(({ title }) => title === name));
    const { baseline } = found.find(Boolean);
    return [name, baseline, ...found.map((row) => (row ? [row.value, row.change.split(" (")[0]] : "-"))];
  });
  return table(["", "baseline", ...models.map((model) => model.title)], rows);
}

function card(title, children) {
  return element("div", { className: "card" }, [element("h2", { text: title }), ...children]);
}

function list(texts, tag = "ul", className = "notes") {
  return element(tag, { className }, texts.map((text) => element("li", { text })));
}

function exportCard(model) {
  const children = [command(model.export)];
  if (source.live) {
    const note = element("p", { className: "quiet", role: "status" });
    const follow = async (start) => {
      try {
        const now = await source.exported(state.run, model.trial, start);
        note.textContent = now.text;
        press.disabled = now.state === "running";
        if (now.state === "running") setTimeout(() => follow(false), 700);
      } catch (error) {
        note.textContent = error.message;
      }
    };
    const press = button("Export this model", () => follow(true), { id: "export" });
    follow(false);
    children.push(press, note);
  }
  return card("Take it home", children);
}

function plot(name) {
  return element("div", { className: "panel" }, [element("div", { className: "plot", "data-part": name })]);
}

/* The words are seen first; a picture is drawn in each frame after them. */
async function drawParts(home, model) {
  for (const part of home.querySelectorAll("[data-part]")) {
    await new Promise((seen) => setTimeout(() => requestAnimationFrame(seen)));
    if (part.isConnected) draw(part, model.figures[part.dataset.part]);
  }
}

function modelView(model) {
  const from = model.parent === null ? "" : `, derived from trial ${model.parent}`;
  const left = [
    card("What was done", [
      model.words.length ? list(model.words, "ol", "words") : element("p", { className: "quiet", text: "Nothing is known of its recipe." }),
    ]),
    card("Numbers", model.numbers.length ? [numbers(model.numbers)] : [element("p", { className: "quiet", text: "None." })]),
  ];
  if (model.export) left.push(exportCard(model));
  if (model.fixed.length) left.push(card("What could not be cut", [facts(model.fixed)]));
  if (model.diagnosis.length) left.push(card("Where its time goes", [list(model.diagnosis)]));
  left.push(element("details", { className: "card" }, [element("summary", { text: "every setting" }), facts(model.recipe)]));
  left.push(element("details", { className: "card" }, [element("summary", { text: "time per stage" }), facts(model.time)]));
  return [
    element("p", {}, [
      element("span", { className: `badge state-${model.state.replaceAll(" ", "-")}`, text: model.state + from }),
      element("span", { className: "quiet", text: model.short }),
    ]),
    ...(model.reason ? [element("p", { text: model.reason })] : []),
    element("div", { className: "columns" }, [
      element("div", {}, left), element("div", {}, [plot("stages"), plot("widths"), plot("curve"), plot("latency")]),
    ]),
  ];
}

export async function showModel() {
  const dialog = byId("model"), wanted = state.trial === "" ? "" : `${state.run} ${state.trial}`;
  if (wanted === shown) return;
  shown = wanted;
  if (wanted === "") {
    dialog.close();
    return;
  }
  const close = () => dialog.close();
  forgetIn(dialog);
  dialog.replaceChildren(head("model-title", `Trial ${state.trial}`, close), element("p", { className: "quiet", text: "reading …" }));
  if (!dialog.open) dialog.showModal();
  const model = await source.details(state.run, state.trial).catch((error) => error);
  if (wanted !== shown) return; // another one was asked for meanwhile
  if (model === null || model instanceof Error) {
    const text = model?.message ?? "This file holds no more of this trial; `autocompress dashboard` shows it.";
    dialog.replaceChildren(head("model-title", `Trial ${state.trial}`, close), element("p", { text }));
  } else {
    const chosen = chosenTrials().includes(state.trial);
    const tick = button(chosen ? "Chosen to compare" : "Compare", () => {
      choose(state.trial, !chosenTrials().includes(state.trial));
      tick.textContent = chosenTrials().includes(state.trial) ? "Chosen to compare" : "Compare";
    });
    dialog.replaceChildren(head("model-title", model.title, close, [tick]), ...modelView(model));
  }
  dialog.querySelector(".dialog-head button:last-child").focus(); // what had the focus is gone
  dialog.scrollTo(0, 0);
  if (model?.figures) drawParts(dialog, model);
}

export const chosenTrials = () => state.compare.split(",").filter(Boolean);

export function choose(trial, wanted) {
  const others = chosenTrials().filter((other) => other !== trial);
  set({ compare: (wanted ? [...others, trial].slice(-4) : others).join(",") });
}

export async function showComparison() {
  const dialog = byId("comparison"), trials = chosenTrials();
  if (!state.side || trials.length < 2) {
    dialog.close();
    return;
  }
  const found = await Promise.all(trials.map((trial) => source.details(state.run, trial).catch(() => null)));
  const models = found.filter(Boolean);
  forgetIn(dialog);
  const columns = models.map((model) => element("div", {}, [
    card(model.title, [element("p", { className: "quiet", text: model.short })]),
    ...COMPARED.map(plot),
    card("Take it home", model.export ? [command(model.export)] : []),
  ]));
  dialog.replaceChildren(
    head("comparison-title", `${models.length} models side by side`, () => dialog.close()),
    element("div", { className: "scroll" }, [sideBySide(models)]), element("div", { className: "side" }, columns),
  );
  if (!dialog.open) dialog.showModal();
  columns.forEach((column, index) => drawParts(column, models[index]));
}

byId("model").addEventListener("close", () => set({ trial: "" }));
byId("comparison").addEventListener("close", () => set({ side: "" }));
