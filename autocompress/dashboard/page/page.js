"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const narrow = innerWidth <= 700;
const drawn = new Map(); // the home of a figure -> the element that Plotly drew into

/* Make an element; texts are set as text, never as HTML. */
function element(tag, { text, className, ...attributes } = {}, children = []) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function facts(pairs) {
  const list = element("dl", { className: "facts" });
  for (const [name, value] of pairs) {
    list.append(element("dt", { text: name }), element("dd", { text: value }));
  }
  return list;
}

function card(title, pairs, className = "card") {
  return element("div", { className }, [element("h3", { text: title }), facts(pairs)]);
}

/* Tables: sorted by a click on a heading; empty cells come last in both directions. */
function compare(a, b, direction) {
  const left = a.sort ?? null, right = b.sort ?? null;
  const empty = (value) => value === null || value === "" || value === "-";
  if (empty(left) || empty(right)) return empty(left) - empty(right);
  const both = typeof left === "number" && typeof right === "number";
  return direction * (both ? left - right : String(left).localeCompare(String(right)));
}

function fillTable(home, table) {
  if (!table.rows.length) {
    home.replaceChildren(element("p", { className: "empty", text: "Nothing yet." }));
    return;
  }
  const body = element("tbody");
  const headings = table.columns.map((column, index) => {
    const button = element("button", { type: "button", text: column.title });
    const heading = element("th", { className: column.number ? "number" : "", scope: "col" }, [button]);
    button.addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      table.rows.sort((a, b) => compare(withText(a[index]), withText(b[index]), direction));
      fillRows();
    });
    return heading;
  });
  function withText(cell) {
    return { sort: cell.sort === undefined ? cell.text : cell.sort };
  }
  function fillRows() {
    body.replaceChildren(...table.rows.map((row) => {
      const cells = row.map((cell, index) => {
        const { number, title } = table.columns[index];
        const state = title === "state" ? ` state-${cell.text.replaceAll(" ", "-")}` : "";
        return element("td", { text: cell.text, className: (number ? "number" : title) + state });
      });
      return element("tr", { className: row[0].text === "baseline" ? "baseline" : "" }, cells);
    }));
    filterTrials();
  }
  home.replaceChildren(element("table", {}, [
    element("thead", {}, [element("tr", {}, headings)]), body,
  ]));
  fillRows();
}

function filterTrials() {
  const wanted = document.getElementById("filter").value.toLowerCase();
  for (const row of document.querySelectorAll('[data-table="trials"] tbody tr')) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
  }
}

/* Figures take their ink from the page, so that they follow its light or dark theme. */
function ink() {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--ink").trim(), card = style.getPropertyValue("--card").trim();
  return {
    "font.color": text, "title.font.color": text, "legend.font.color": text,
    "hoverlabel.bgcolor": card, "hoverlabel.font.color": text,
    "hoverlabel.bordercolor": style.getPropertyValue("--line").trim(),
  };
}

function draw(home, figure) {
  const inner = element("div", { className: "plot" });
  home.replaceChildren(inner);
  const config = {
    responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
  };
  Plotly.newPlot(inner, figure.data, figure.layout, config);
  Plotly.relayout(inner, ink());
  if (narrow) Plotly.relayout(inner, { "legend.y": -0.22, "legend.yanchor": "top", "margin.b": 95 });
  drawn.set(home, inner);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
  for (const plot of drawn.values()) Plotly.relayout(plot, ink());
}

function preferredTheme() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function command(text) {
  const copy = element("button", { type: "button", text: "Copy" });
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
  });
  return element("div", { className: "command" }, [element("code", { text }), copy]);
}

function details(model) {
  const widths = element("div", { className: "figure" }), curve = element("div", { className: "figure" });
  const home = element("details", { id: `trial-${model.trial}` }, [
    element("summary", { text: model.title }),
    command(model.export),
    element("div", { className: "columns" }, [
      element("div", {}, [element("h3", { text: "numbers" }), facts(model.numbers)]),
      element("div", {}, [element("h3", { text: "recipe" }), facts(model.recipe)]),
    ]),
    element("div", { className: "columns" }, [widths, curve]),
  ]);
  home.addEventListener("toggle", () => {
    if (!home.open || drawn.has(widths)) return;
    draw(widths, model.widths);
    draw(curve, model.curve);
  });
  return home;
}

function start() {
  setTheme(preferredTheme());
  document.getElementById("study").textContent = data.study;
  document.getElementById("made").textContent = `${data.folder} · ${data.made}`;
  const state = document.getElementById("state");
  state.textContent = data.state.text;
  state.classList.add(data.state.kind);
  const cards = document.getElementById("cards");
  document.getElementById("facts").textContent = data.facts.join(" · ");
  if (data.baseline.length) cards.append(card("baseline", data.baseline));
  for (const pick of data.picks) {
    cards.append(card(`${pick.names.join(", ")}: trial ${pick.trial}`, pick.numbers, "card pick"));
  }
  for (const home of document.querySelectorAll("[data-table]")) fillTable(home, data[home.dataset.table]);
  document.getElementById("details").append(...data.details.map(details));
  for (const id of ["front-section", "details-section"]) {
    document.getElementById(id).hidden = data.details.length === 0;
  }
  document.getElementById("controls-section").hidden = data.controls.rows.length === 0;
  document.getElementById("machine").replaceWith(facts(data.machine));
  document.getElementById("study-file").textContent = data.study_file;
  document.getElementById("footer").textContent = `made by autocompress ${data.version}`;
  document.getElementById("filter").addEventListener("input", filterTrials);
  document.getElementById("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  });
  /* Last, when the page has its final width. */
  for (const home of document.querySelectorAll("[data-figure]")) draw(home, data.figures[home.dataset.figure]);
  const named = document.getElementById(location.hash.slice(1));
  if (named instanceof HTMLDetailsElement) named.open = true;
}

start();
