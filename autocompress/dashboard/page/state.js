/* What is looked at: kept in the address, so that a link shows the same. */

const DEFAULTS = {
  run: "", view: "tradeoff", x: "latency_ms", y: "accuracy", third: "parameters", as: "color",
  relative: "", three: "", latency_ms: "", parameters: "", accuracy: "", trial: "", compare: "", side: "", theme: "",
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

addEventListener("hashchange", () => {
  const before = state;
  state = read();
  const changed = Object.keys(state).filter((name) => state[name] !== before[name]);
  if (changed.length) listeners.forEach((listener) => listener(changed));
});
