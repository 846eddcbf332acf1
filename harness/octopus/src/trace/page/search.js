// Requests told as stories, searches, and bookmarks in the page's address.

// A request is lit in each run that has it; "" lights none.
function tellStory(app, name) {
  app.request = name;
  app.stories = app.runs.map(run => {
    const request = run.requests.indexOf(name);
    return request < 0 || !run.requestEvents[request].length ? undefined : explain(run, request);
  });
  byId("request").value = name;
  const at = app.stories.findIndex(Boolean), story = app.stories[at];
  byId("path").hidden = !story;
  byId("request-said").textContent = !name ? "" : story ? saidOf(app, name) : "no request of this name";
  if (story) showPath(app, app.runs[at], story);
  app.changed("request");
}

// What the client heard in the end. After `info` nobody knows whether the request was or will be done.
const OUTCOMES = { ok: "answered after", fail: "failed after", info: "given up, outcome unknown, after" };

function saidOf(app, name) {
  const said = app.stories.map((story, at) => {
    if (!story) return `${app.runs[at].name}: none`;
    const run = app.runs[at], took = timeWords(run.t[story.answer] - run.t[story.invoke]);
    const place = story.place < 0 ? "" : `, entry ${story.place}`;
    return `${app.runs.length > 1 ? `${run.name}: ` : ""}${OUTCOMES[story.outcome] ?? "not answered; last heard of after"} ${took}${place}`;
  });
  return `${name}: ${said.join(" · ")}`;
}

const COST_COLOURS = { network: "--k0", disk: "--k1", waiting: "--k9", applying: "--k2" };

// The bar: where the time went, in the order in which it went.
function showPath(app, run, story) {
  const total = Math.max(1, run.t[story.answer] - run.t[story.invoke]);
  const parts = story.path.filter(step => step.ns > 0).map(step => {
    const part = element("i", { title: `${step.cost} ${timeWords(step.ns)}` });
    part.style.width = `${100 * step.ns / total}%`;
    part.style.background = `var(${COST_COLOURS[step.cost]})`;
    return part;
  });
  byId("path-bar").replaceChildren(...parts);
  const words = Object.entries(story.costs).filter(([, ns]) => ns > 0).map(([cost, ns]) => `${cost} ${timeWords(ns)} (${Math.round(100 * ns / total)} %)`);
  byId("path-bar").setAttribute("aria-label", `Critical path: ${words.join(", ")}`);
  byId("path-key").replaceChildren(...Object.keys(COST_COLOURS).filter(cost => story.costs[cost] > 0).map(cost => {
    const swatch = element("i");
    swatch.style.background = `var(${COST_COLOURS[cost]})`;
    return element("span", {}, swatch, `${cost} ${timeWords(story.costs[cost])}`);
  }));
  const stepOf = step => element("li", {}, element("button", { onclick: () => moveCursor(app, run.t[step.to]) }, timeWords(run.t[step.to], [1e6, "ms"])),
    ` ${step.ns > 0 ? `${step.cost} ${timeWords(step.ns)}` : "at once"} → node ${nodeOf(run, step.to)}: ${wordsOf(run, step.to)}`);
  byId("path-steps").replaceChildren(...story.path.map(stepOf));
}

// Words that an event must have; `term:3`, `node:2`, `type:X`, `kind:X` and `request:X` ask one field.
function matcher(run, query) {
  const tests = query.toLowerCase().split(/\s+/).filter(Boolean).map(word => {
    const [, field, value] = /^(term|node|type|kind|request):(.*)$/.exec(word) ?? [];
    if (field === "term") return event => run.term[event] === Number(value);
    if (field === "node") return event => nodeOf(run, event).toLowerCase() === value;
    if (field === "type") return event => typeOf(run, event).toLowerCase().includes(value);
    if (field === "kind") return event => kindOf(run, event) === value;
    if (field === "request") {
      const request = run.requests.findIndex(name => name.toLowerCase() === value), events = new Set(run.requestEvents[request]);
      return event => events.has(event);
    }
    return event => `${nodeOf(run, event)} ${wordsOf(run, event)}`.toLowerCase().includes(word);
  });
  return event => tests.every(test => test(event));
}

function find(app, query) {
  byId("search").value = query;
  app.matches = app.runs.map(run => {
    if (!query.trim()) return undefined;
    const matches = matcher(run, query), found = [];
    for (let event = 0; event < run.count; event++) if (matches(event)) found.push(event);
    return Int32Array.from(found);
  });
  const count = app.matches.reduce((sum, list) => sum + (list?.length ?? 0), 0);
  byId("matches").textContent = query.trim() ? `${count} events` : "";
  app.changed("search");
}

function nextMatch(app, forward) {
  let best;
  app.matches.forEach((list, at) => {
    if (!list) return;
    const times = app.runs[at].t, cursor = app.view.cursor;
    const found = forward ? list.find(event => times[event] > cursor) : list.findLast(event => times[event] < cursor);
    const time = times[found];
    if (time !== undefined && (best === undefined || (forward ? time < best : time > best))) best = time;
  });
  if (best !== undefined) moveCursor(app, best);
}

// Bookmarks, and all else that the address has.
const NOTE_LENGTH = 500, MARKS_MOST = 50;

function showMarks(app) {
  byId("marks").replaceChildren(...app.marks.map((mark, at) => element("li", {},
    element("button", { onclick: () => moveCursor(app, mark.t) }, timeWords(mark.t, [1e6, "ms"])), ` ${mark.note} `,
    element("button", { "aria-label": `Remove bookmark ${at + 1}`, onclick: () => { app.marks.splice(at, 1); showMarks(app); app.changed("marks"); } }, "×"))));
}

function addMark(app, note) {
  if (app.marks.length >= MARKS_MOST) return;
  app.marks.push({ t: Math.round(app.view.cursor), note: note.slice(0, NOTE_LENGTH) });
  app.marks.sort((a, b) => a.t - b.t);
  showMarks(app);
  app.changed("marks");
}

function toAddress(app) {
  const { view } = app, fields = new URLSearchParams({ t: Math.round(view.cursor), v: `${Math.round(view.from)}-${Math.round(view.to)}` });
  if (app.request) fields.set("r", app.request);
  if (byId("search").value) fields.set("q", byId("search").value);
  if (app.marks.length) fields.set("b", JSON.stringify(app.marks.map(({ t, note }) => [t, note])));
  history.replaceState(null, "", `#${fields}`);
}

function fromAddress(app) {
  const fields = new URLSearchParams(location.hash.slice(1)), time = Number(fields.get("t"));
  const [from, to] = (fields.get("v") ?? "").split("-").map(Number);
  if (to > from) show(app, from, to);
  if (time >= 0) moveCursor(app, time, false);
  if (fields.get("r")) tellStory(app, fields.get("r"));
  if (fields.get("q")) find(app, fields.get("q"));
  app.marks = marksFrom(fields.get("b"));
  showMarks(app);
}

// What somebody else put into the address is read as data, and only if it is such.
function marksFrom(text) {
  try {
    const list = JSON.parse(text ?? "[]");
    const isMark = mark => Array.isArray(mark) && Number.isFinite(mark[0]) && typeof mark[1] === "string";
    return list.filter(isMark).slice(0, MARKS_MOST).map(([t, note]) => ({ t, note: note.slice(0, NOTE_LENGTH) }));
  } catch {
    return [];
  }
}
