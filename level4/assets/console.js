// The console: SQL in, tables out, and how the cluster is. Everything it knows comes from the endpoints
// that clients use; passwords are the browser's to remember.

const $ = (id) => document.getElementById(id);
const SHOWN = 1000; // rows of one result
const KEPT = 60; // latencies
const LOOK_AGAIN = 2000; // ms

/** An element with text and attributes. */
function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Asks the node; an answer that says no becomes an error. */
async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  const text = await answer.text();
  if (answer.status === 401) throw new Error("this needs a permission that you have not");
  if (!answer.ok) throw new Error(text.trim() || `${answer.status} ${answer.statusText}`);
  return JSON.parse(text, exact);
}

/** Integers of 64 bits are whole, where the browser tells how they are written. */
function exact(_key, value, context) {
  const isRounded = Number.isInteger(value) && !Number.isSafeInteger(value);
  return isRounded && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value;
}

const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// --- SQL ---

let latencies = [];

async function run() {
  const sql = $("sql").value;
  if (!sql.trim()) return;
  $("run").disabled = true;
  $("problem").hidden = true;
  const flags = new URLSearchParams({ blob_array: "", timings: "", level: $("level").value });
  if ($("transaction").checked) flags.set("transaction", "");
  const start = performance.now();
  try {
    const reads = /^\s*(select|with|values|explain)\b/i.test(sql) && $("level").value === "none";
    const answer = await post(`../db/${reads ? "query" : "request"}?${flags}`, statements(sql));
    remember(performance.now() - start);
    if (answer.error) throw new Error(answer.error);
    $("results").replaceChildren(...(answer.results ?? []).map(shown));
    lookAtTables();
  } catch (error) {
    $("results").replaceChildren();
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  } finally {
    $("run").disabled = false;
  }
}

/** The statements of a text: cut at semicolons outside of quotes, comments and triggers. */
export function statements(text) {
  const token = /'(?:[^']|'')*'?|"(?:[^"]|"")*"?|`[^`]*`?|\[[^\]]*\]?|--[^\n]*|\/\*[^]*?(?:\*\/|$)|[A-Za-z_]\w*|[^]/g;
  const found = [];
  let begun = "";
  let words = [];
  for (const [part] of text.matchAll(token)) {
    begun += part;
    if (/^[A-Za-z_]/.test(part)) words.push(part.toUpperCase());
    const trigger = words[0] === "CREATE" && words.slice(1, 3).includes("TRIGGER");
    if (part === ";" && (!trigger || words.at(-1) === "END")) {
      found.push(begun);
      begun = "";
      words = [];
    }
  }
  return [...found, begun].map((sql) => sql.trim()).filter((sql) => sql.replace(/^;|--[^\n]*|\/\*[^]*?\*\//g, "").trim());
}

function shown(result) {
  if (result.error) return element("p", result.error, { class: "wrong" });
  const time = result.time === undefined ? "" : ` in ${milliseconds(result.time * 1000)}`;
  if (!result.columns) {
    const done = result.rows_affected === undefined ? "done" : `${count(result.rows_affected, "row")} changed`;
    return element("p", done + time, { class: "hint" });
  }
  const rows = result.values ?? [];
  const table = element("table");
  const head = table.createTHead().insertRow();
  result.columns.forEach((name, place) => {
    // Above numbers, where they are.
    const attributes = isNumber(rows[0]?.[place]) ? { scope: "col", class: "number" } : { scope: "col" };
    head.append(element("th", name, attributes));
  });
  const body = table.createTBody();
  for (const row of rows.slice(0, SHOWN)) {
    const line = body.insertRow();
    for (const value of row) line.append(cell(value));
  }
  const box = element("div");
  const wide = element("div", undefined, { class: "wide", tabindex: "0" });
  wide.append(table);
  const more = rows.length > SHOWN ? `, the first ${SHOWN} of them here` : "";
  box.append(wide, element("p", `${count(rows.length, "row")}${more}${time}`, { class: "hint" }));
  return box;
}

const isNumber = (value) => typeof value === "number" || typeof value === "bigint";

function cell(value) {
  if (value === null) return element("td", "NULL", { class: "null" });
  if (isNumber(value)) return element("td", String(value), { class: "number" });
  if (Array.isArray(value)) {
    const digits = value.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return element("td", `x'${digits}'`);
  }
  return element("td", String(value));
}

const bytes = (size) => (size == null ? "?" : size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`);
const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
const milliseconds = (time) => `${time < 10 ? time.toFixed(2) : Math.round(time)} ms`;

function remember(time) {
  latencies = [...latencies, time].slice(-KEPT);
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (part) => milliseconds(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]);
  $("times").textContent = `last ${milliseconds(time)}, p50 ${at(0.5)}, p99 ${at(0.99)}, of ${latencies.length}`;
  const most = sorted.at(-1);
  const bars = latencies.map((one) => {
    const bar = element("li");
    bar.style.height = `${(100 * one) / most}%`;
    return bar;
  });
  $("bars").replaceChildren(...bars);
}

// --- The cluster ---

async function lookAtTables() {
  const sql =
    "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name";
  try {
    const answer = await post("../db/query?level=none", [sql]);
    const rows = answer.results?.[0]?.values ?? [];
    const items = rows.map(([name, type]) => {
      const item = element("li");
      const button = element("button", name, { type: "button", title: `first rows of the ${type}` });
      button.addEventListener("click", () => {
        $("sql").value = `SELECT * FROM "${name.replaceAll('"', '""')}" LIMIT 100;`;
        run();
      });
      item.append(button);
      return item;
    });
    $("tables").replaceChildren(...(items.length ? items : [element("li", "none yet", { class: "kind" })]));
  } catch (error) {
    $("tables").replaceChildren(element("li", error.message, { class: "kind" }));
  }
}

async function lookAtCluster() {
  try {
    const [nodes, status] = await Promise.all([ask("../nodes?nonvoters&ver=2"), ask("../status?key=store")]);
    $("node").textContent = `node ${status.node_id} at ${status.addr}, ${status.raft.state.toLowerCase()}`;
    $("nodes").replaceChildren(...nodes.nodes.map(nodeLine));
    const { raft } = status;
    const facts = {
      applied: raft.applied_index,
      committed: raft.commit_index,
      "last in the log": raft.last_log_index,
      "last snapshot": raft.last_snapshot_index,
      term: raft.term,
      "heard of the leader": raft.last_contact === "0" ? "it is this node" : `${raft.last_contact} ago`,
      database: bytes(status.sqlite3?.size),
    };
    const parts = Object.entries(facts).flatMap(([name, value]) => [element("dt", name), element("dd", String(value))]);
    $("log").replaceChildren(...parts);
  } catch (error) {
    $("node").textContent = `the node does not say how it is: ${error.message}`;
  }
  setTimeout(lookAtCluster, LOOK_AGAIN);
}

function nodeLine(node) {
  const line = element("tr");
  const part = node.leader ? "leads" : node.voter ? "votes" : "learns";
  line.append(
    element("td", `${node.id} ${node.addr}`),
    element("td", part),
    element("td", node.reachable ? "yes" : "no", { class: node.reachable ? "yes" : "no" }),
  );
  return line;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("sql").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
lookAtTables();
lookAtCluster();
