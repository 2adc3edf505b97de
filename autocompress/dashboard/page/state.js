/* What is looked at: kept in the address, so that a link shows the same. */

const DEFAULTS = {
  run: "", view: "tradeoff", x: "", y: "", third: "", as: "color", relative: "", three: "",
  budget: "", trial: "", compare: "", side: "", theme: "",
};
const listeners = [];

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const known = Object.keys(DEFAULTS).filter((name) => given.has(name));
  return { ...DEFAULTS, ...Object.fromEntries(known.map((name) => [name, given.get(name)])) };
}

export let state = read();

export function onChange(listener) {
  listeners.push(listener);
}

/* Change something, and tell all that show it which names changed. */
export function set(changes) {
  const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
  if (!changed.length) return;
  state = { ...state, ...changes };
  const shown = Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]);
  history.replaceState(null, "", `#${new URLSearchParams(shown)}`);
  listeners.forEach((listener) => listener(changed));
}

/* The bounds of the budget by metric; in the address as NAME:BOUND,NAME:BOUND. */
export function budget() {
  const pairs = state.budget.split(",").filter(Boolean).map((pair) => pair.split(":"));
  return Object.fromEntries(pairs.map(([metric, bound]) => [metric, Number(bound)]));
}

export function setBound(metric, bound) {
  const bounds = Object.entries({ ...budget(), [metric]: bound }).filter(([, value]) => value !== undefined);
  set({ budget: bounds.map((pair) => pair.join(":")).join() });
}

addEventListener("hashchange", () => {
  const before = state;
  state = read();
  const changed = Object.keys(state).filter((name) => state[name] !== before[name]);
  if (changed.length) listeners.forEach((listener) => listener(changed));
});
