/* Elements. Texts are set as text, never as HTML. */

export const byId = (id) => document.getElementById(id);

export function element(tag, { text, className, ...attributes } = {}, children = []) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function button(text, action, attributes = {}) {
  const made = element("button", { type: "button", text, ...attributes });
  made.addEventListener("click", action);
  return made;
}

export function facts(pairs) {
  const list = element("dl", { className: "facts" });
  for (const [name, value] of pairs) {
    list.append(element("dt", { text: name }), element("dd", { text: value }));
  }
  return list;
}

export function command(text) {
  const copy = button("Copy", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
  });
  return element("div", { className: "command" }, [element("code", { text }), copy]);
}

export function download(name, text, kind) {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  element("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}
