/* Where the data comes from: a server that is asked again, or the file itself. */

const inlined = JSON.parse(document.getElementById("data").textContent);
const TOKEN = "x-autocompress-token";
const versions = new Map(); // address -> the ETag of what is known
let token = "";
export let warning = ""; // who else can reach the page

export const live = inlined === null;

async function ask(address, options = {}) {
  const answer = await fetch(address, options);
  if (answer.status === 304) return null;
  if (!answer.ok) {
    const answered = await answer.json().catch(() => ({ error: answer.statusText }));
    throw new Error(answered.error ?? answer.statusText);
  }
  return answer;
}

/* Return a document, or null where nothing changed since it was last asked for. */
async function fresh(address) {
  const known = versions.get(address);
  const answer = await ask(address, { headers: known ? { "If-None-Match": known } : {}, cache: "no-store" });
  if (answer === null) return null;
  versions.set(address, answer.headers.get("ETag"));
  return answer.json();
}

const of = (run, what) => `/api/runs/${encodeURIComponent(run)}/${what}`;

export async function runs() {
  if (!live) return [inlined.overview.study];
  const found = await (await ask("/api/runs")).json();
  token = found.token;
  warning = found.warning;
  return found.runs;
}

/* One of the documents of a run: overview, trials, space, figures. */
export const documentOf = (run, what) => (live ? fresh(of(run, what)) : inlined[what]);

export async function csv(run) {
  return live ? (await ask(of(run, "trials.csv"))).text() : inlined.csv;
}

export async function details(run, trial) {
  if (!live) return inlined.details[trial] ?? null;
  return (await ask(of(run, `trials/${trial}`), { cache: "no-store" })).json();
}

export async function exported(run, trial, start) {
  const options = start ? { method: "POST", headers: { [TOKEN]: token } } : {};
  return (await ask(of(run, `trials/${trial}/export`), options)).json();
}

export function forget() {
  versions.clear();
}
