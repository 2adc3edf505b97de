/* Tables: sorted by a click on a heading; empty cells come last in both directions. */

import { element } from "ac/dom";

const MOST_ROWS = 500; // drawn at once
const orders = new WeakMap(); // home -> [column, direction], kept while data change

const isEmpty = (value) => value === null || value === "" || value === "-";

function compare(a, b, direction) {
  const [left, right] = [a, b].map((cell) => cell.sort ?? cell.text ?? null);
  if (isEmpty(left) || isEmpty(right)) return isEmpty(left) - isEmpty(right);
  const both = typeof left === "number" && typeof right === "number";
  return direction * (both ? left - right : String(left).localeCompare(String(right)));
}

/* Fill a home with a table.
   filter: a text that rows must hold; decorate(row, tr): adds what a row can do; returns the number of rows. */
export function fillTable(home, table, { filter = "", decorate = () => {} } = {}) {
  if (!table.rows.length) {
    home.replaceChildren(element("p", { className: "empty", text: "Nothing yet." }));
    return 0;
  }
  const again = () => fillTable(home, table, { filter, decorate });
  const [sorted, direction] = orders.get(home) ?? [null, 1];
  const headings = table.columns.map((column, index) => {
    const press = element("button", { type: "button", text: column.title });
    const heading = element("th", { className: column.kind === "number" ? "number" : "", scope: "col" }, [press]);
    if (index === sorted) heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    press.addEventListener("click", () => {
      orders.set(home, [index, index === sorted ? -direction : 1]);
      again();
    });
    return heading;
  });
  const wanted = filter.toLowerCase();
  const rows = table.rows.filter((row) => !wanted || row.some((cell) => cell.text.toLowerCase().includes(wanted)));
  if (sorted !== null) rows.sort((a, b) => compare(a[sorted], b[sorted], direction));
  const body = element("tbody", {}, rows.slice(0, MOST_ROWS).map((row) => {
    const cells = row.map((cell, index) => {
      const { kind } = table.columns[index];
      const state = kind === "state" ? ` state-${cell.text.replaceAll(" ", "-")}` : "";
      return element("td", { text: cell.text, className: kind + state });
    });
    const made = element("tr", { className: row[0].text === "baseline" ? "baseline" : "" }, cells);
    decorate(row, made);
    return made;
  }));
  const left = home.scrollLeft, top = home.scrollTop;
  home.replaceChildren(element("table", {}, [element("thead", {}, [element("tr", {}, headings)]), body]));
  home.scrollTo(left, top);
  return rows.length;
}
