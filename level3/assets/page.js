// Search as you type. The state of the form is kept behind the `#` of the address, so that a
// search can be bookmarked and the browser's back button works.
"use strict";

const LIMIT = 200;
const byId = (id) => document.getElementById(id);
const [form, summary, results] = ["form", "summary", "results"].map(byId);
const fields = ["query", "path", "regex", "ignore_case", "context"].map(byId);
const query = fields[0];

// The request at work; a newer one cancels it.
let running = null;

// What is asked for, as parameters of /search. Settings at their defaults are left out.
function parameters() {
  const asked = new URLSearchParams();
  for (const field of fields) {
    const name = field === query ? "q" : field.id;
    const value = field.type === "checkbox" ? (field.checked ? "true" : "") : field.value;
    if (value !== "" && !(field.type === "number" && value === "0")) asked.set(name, value);
  }
  return asked;
}

// Fills the form from the address.
function restore() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const field of fields) {
    const value = asked.get(field === query ? "q" : field.id);
    if (field.type === "checkbox") field.checked = value === "true";
    else field.value = value ?? (field.type === "number" ? "0" : "");
  }
}

async function search() {
  const asked = parameters();
  running?.abort();
  if (!asked.has("q")) {
    show([], "Type to search.");
    return;
  }
  const controller = running = new AbortController();
  asked.set("limit", LIMIT);
  const started = performance.now();
  try {
    const response = await fetch("/search?" + asked, { signal: controller.signal });
    const answer = await response.json();
    if (!answer.success) return show([], answer.error, true);
    const total = (performance.now() - started).toFixed(1);
    const files = new Set(answer.results.map((hit) => hit.file)).size;
    const count = answer.more ? `the first ${answer.results.length}` : answer.results.length;
    const notes = [
      `${count} lines in ${files} files`,
      `${(answer.took_us / 1000).toFixed(1)} ms (${total} ms with the way here)`,
    ];
    if (!answer.pruned) notes.push("nothing to look up in the index: every file was read");
    if (answer.timed_out) notes.push("stopped at the time limit");
    if (answer.missing?.length) notes.push(`incomplete: ${answer.missing.join("; ")}`);
    show(answer.results, notes.join(" · "), Boolean(answer.partial));
  } catch (error) {
    if (error.name !== "AbortError") show([], `The server does not answer: ${error.message}`, true);
  }
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function row(kind, number, text) {
  const line = element("div", kind);
  line.append(element("span", "number", number), text);
  return line;
}

// The text of a hit with its matches marked. Positions count characters, not UTF-16 units.
function marked(hit) {
  const characters = Array.from(hit.text);
  const text = element("span");
  let at = 0;
  for (const [start, end] of hit.spans) {
    text.append(characters.slice(at, start).join(""));
    text.append(element("mark", "", characters.slice(start, end).join("")));
    at = end;
  }
  text.append(characters.slice(at).join("") + (hit.cut ? " …" : ""));
  return text;
}

function show(hits, message, failed = false) {
  summary.textContent = message;
  summary.classList.toggle("error", failed);
  const sections = [];
  let file = null;
  let lines = null;
  for (const hit of hits) {
    if (hit.file !== file) {
      file = hit.file;
      const section = element("section");
      lines = element("pre");
      section.append(element("h2", "", file), lines);
      sections.push(section);
    }
    const before = hit.before ?? [];
    const after = hit.after ?? [];
    before.forEach((text, at) => lines.append(row("hit near", hit.line - before.length + at, text)));
    const line = row("hit", hit.line, marked(hit));
    line.tabIndex = -1;
    line.dataset.place = `${hit.file}:${hit.line}`;
    lines.append(line);
    after.forEach((text, at) => lines.append(row("hit near", hit.line + 1 + at, text)));
  }
  results.replaceChildren(...sections);
}

// Moves to the next or previous hit; in front of the first is the query.
function move(step) {
  const hits = [...results.querySelectorAll(".hit[tabindex]")];
  const at = hits.indexOf(document.activeElement) + step;
  const target = at < 0 ? query : hits[Math.min(at, hits.length - 1)];
  target?.focus();
}

form.addEventListener("input", () => {
  history.replaceState(null, "", "#" + parameters());
  search();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = parameters();
  search();
});
window.addEventListener("hashchange", () => { restore(); search(); });
document.addEventListener("keydown", (event) => {
  const typing = document.activeElement?.tagName === "INPUT";
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const action = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Escape: () => query.select(),
    ...(typing ? {} : {
      "/": () => query.select(),
      j: () => move(1),
      k: () => move(-1),
      y: () => navigator.clipboard?.writeText(document.activeElement.dataset.place ?? ""),
    }),
  }[event.key];
  if (!action || (document.activeElement?.type === "number" && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  action();
});

restore();
search();
