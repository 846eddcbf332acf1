// What is said in words: each node's state, the links, the events around the cursor.

const byId = id => document.getElementById(id);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key === "onclick") made.addEventListener("click", value); else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const orNone = number => number < 0 ? "–" : String(number);

function nodeCard(run, state, node) {
  const role = state.up ? state.role || "no role yet" : "down", name = (number, none) => number < 0 ? none : run.nodes[number];
  const vote = state.voteTerm >= 0 && state.voteTerm === state.term ? name(state.vote, "–") : "–";
  const card = element("div", { class: state.up ? "node" : "node down" },
    element("h3", {}, `${run.nodes[node]}: ${role}`),
    element("p", {}, `term ${orNone(state.term)} · vote ${vote}`),
    element("p", {}, `log to ${orNone(state.last)} · committed ${orNone(state.commit)} · applied ${orNone(state.applied)}`),
    element("p", {}, `on disk: log to ${orNone(state.disk.index)}, term ${orNone(state.disk.term)}, vote ${name(state.disk.vote, "–")}${state.snapshot >= 0 ? `, snapshot ${state.snapshot}` : ""}`));
  card.style.borderLeftColor = state.up ? termColour(state.term) : colours.rule;
  const queues = Object.entries(state.queues).filter(([, count]) => count > 0);
  if (queues.length) card.append(element("p", {}, `waiting: ${queues.map(([name, count]) => `${count} ${name}`).join(", ")}`));
  card.append(entriesOf(run, state));
  return card;
}

// The last entries; those that are not on disk yet are dashed, committed ones bold.
function entriesOf(run, state) {
  const shown = state.log.slice(-8).map(([index, term, requests]) => {
    const names = requests.map(request => run.requests[request]), some = names.slice(0, 2).join(" ") + (names.length > 2 ? " …" : "");
    const onDisk = index <= state.disk.index, committed = index <= state.commit;
    const words = `entry ${index}, term ${term}${onDisk ? ", on disk" : ", not on disk"}${committed ? ", committed" : ""}: ${names.join(" ") || "no request"}`;
    const entry = element("span", { class: `${onDisk ? "" : "volatile"} ${committed ? "committed" : ""}`, title: words, "aria-label": words },
      `${index}·${term}${some ? ` ${some}` : ""}`);
    entry.style.color = termColour(term);
    return entry;
  });
  return element("div", { class: "entries" }, ...shown);
}

function showState(app) {
  const cards = [];
  for (const run of app.runs) {
    if (app.runs.length > 1) cards.push(element("h3", { style: "grid-column: 1 / -1; margin: .4rem 0 0" }, run.name));
    const states = statesAt(run, app.view.cursor);
    states.forEach((state, node) => { if (!app.hidden.has(run.nodes[node])) cards.push(nodeCard(run, state, node)); });
  }
  byId("state").replaceChildren(...cards);
}

// From row to column: how many messages are on their way, and whether the link is cut.
function linkTable(run, time) {
  const size = run.nodes.length, under = new Map(), level = run.levels[0];
  visitArrows(level, time, time, Infinity, at => {
    if (level.start[at] > time || level.end[at] <= time) return;
    const key = run.node[level.sent[at]] * size + run.peer[level.sent[at]];
    under.set(key, (under.get(key) ?? 0) + 1);
  });
  const cut = new Set(faultsAt(run, time).flatMap(fault => fault.links.flatMap(([a, b]) => [a * size + b, b * size + a])));
  const table = element("table", { class: "links" });
  table.append(element("tr", {}, element("th", {}, run.name), ...run.nodes.map(name => element("th", { scope: "col" }, name))));
  for (let from = 0; from < size; from++) {
    const cells = run.nodes.map((_, to) => {
      const key = from * size + to, count = under.get(key) ?? "";
      return element("td", cut.has(key) ? { class: "cut" } : {}, from === to ? "·" : cut.has(key) ? `cut ${count}` : String(count));
    });
    table.append(element("tr", {}, element("th", { scope: "row" }, run.nodes[from]), ...cells));
  }
  return element("div", { class: "wide" }, table);
}

function showLinks(app) {
  byId("links").replaceChildren(...app.runs.map(run => linkTable(run, app.view.cursor)));
}

// An event in words.
function wordsOf(run, event) {
  const more = moreOf(run, event), kind = kindOf(run, event), type = typeOf(run, event), parts = [kind];
  if (type) parts.push(type);
  if (run.peer[event] >= 0) parts.push(`${kind === "deliver" || kind === "drop" ? "from" : "to"} ${run.nodes[run.peer[event]]}`);
  if (more.what) parts.push(more.what);
  if (more.role) parts.push(more.role);
  if (more.for !== undefined) parts.push(`for ${run.nodes[more.for]}`);
  if (more.client) parts.push(`by client ${more.client}`);
  for (const field of ["term", "index", "commit"]) if (run[field][event] >= 0) parts.push(`${field} ${run[field][event]}`);
  if (more.requests) parts.push(`requests ${more.requests.map(request => run.requests[request]).join(" ")}`);
  if (more.entries) parts.push(`entries ${more.entries.map(([index, term, requests]) => `${index}·${term} ${requests.map(request => run.requests[request]).join(" ")}`.trim()).join(", ")}`);
  if (more.text) parts.push(more.text);
  for (const [field, value] of Object.entries(more.more ?? {})) parts.push(`${field} ${typeof value === "string" ? value : JSON.stringify(value)}`);
  return parts.join(", ").replace(", ", " ");
}

// A dozen events before the cursor and as many after it.
function showEvents(app) {
  const body = byId("events").tBodies[0], rows = [];
  for (const run of app.runs) {
    const middle = search(run.t, app.view.cursor, true), around = [];
    for (let at = middle - 1; at >= 0 && around.length < 12; at--) if (isShown(app, run, at)) around.unshift(at);
    for (let at = middle, count = 0; at < run.count && count < 12; at++) if (isShown(app, run, at)) { around.push(at); count++; }
    for (const event of around) rows.push(eventRow(app, run, event));
  }
  body.replaceChildren(...rows);
  const run = app.runs[0], last = search(run.t, app.view.cursor, true) - 1;
  if (last >= 0 && !app.playing) byId("announced").textContent = `${timeWords(run.t[last])}, node ${nodeOf(run, last)}: ${wordsOf(run, last)}`;
}

function eventRow(app, run, event) {
  const isNow = run.t[event] === app.view.cursor;
  const time = element("button", { onclick: () => moveCursor(app, run.t[event]) }, timeWords(run.t[event], [1e6, "ms"]));
  const row = element("tr", isNow ? { class: "now", "aria-current": "true" } : {}, element("td", {}, time),
    element("td", {}, nodeOf(run, event)), element("td", {}, wordsOf(run, event)));
  return row;
}

// The legend, which switches types and nodes on and off.
function showToggles(app) {
  const types = new Map(), nodes = new Set(app.runs.flatMap(run => run.nodes));
  for (const run of app.runs) for (const { name, type, count } of run.types) {
    const known = types.get(name);
    if (known) known.count += count; else types.set(name, { count, colour: typeColour(run, type) });
  }
  const toggle = (off, name, label, changed, colour) => {
    const box = element("input", { type: "checkbox" });
    box.checked = !off.has(name);
    box.addEventListener("change", () => { if (box.checked) off.delete(name); else off.add(name); changed(); });
    const made = element("label", { class: "type" }, box, label);
    if (colour) made.style.borderColor = colour;
    return made;
  };
  byId("types").replaceChildren(...[...types].map(([name, { count, colour }]) =>
    toggle(app.off, name, `${name} ${count}`, () => refilter(app), colour)));
  byId("nodes").replaceChildren("nodes: ", ...[...nodes].map(name => toggle(app.hidden, name, name, () => refilter(app))));
}

// Which arrows are drawn follows from the filters.
function refilter(app) {
  const low = Number(byId("term-low").value || -Infinity), high = byId("term-high").value === "" ? Infinity : Number(byId("term-high").value);
  const anyTerm = low === -Infinity && high === Infinity;
  for (const run of app.runs) {
    buildArrows(run, event => !app.off.has(run.message[event] < 0 ? "message" : typeOf(run, event)) && (anyTerm || run.term[event] >= low && run.term[event] <= high) &&
      !app.hidden.has(nodeOf(run, event)) && !app.hidden.has(run.nodes[run.peer[event]]));
  }
  app.changed("filter");
}
