// The keys, in one table: what is pressed, what it does, and where. The help is made from it.
import { byId, element } from "./dom.js";

// Says which key does what. `actions` has a function for each name.
const KEYS = [
  { keys: ["/"], does: "go to the query", action: "query" },
  { keys: ["j", "ArrowDown"], does: "next result", action: "next" },
  { keys: ["k", "ArrowUp"], does: "result before", action: "previous" },
  { keys: ["Enter"], does: "from the query to the first result; open a result" },
  { keys: ["n"], does: "next hit in the file", action: "nextHit" },
  { keys: ["N"], does: "hit before in the file", action: "previousHit" },
  { keys: ["y"], does: "copy path:line", action: "copyPlace" },
  { keys: ["Y"], does: "copy the address of the lines", action: "copyLink" },
  { keys: ["t"], does: "find a file by its name", action: "findFile" },
  { keys: ["u"], does: "up to the folder", action: "up" },
  { keys: ["e"], does: "open in the editor", action: "edit" },
  { keys: ["Escape"], does: "back to the results, and from there to the query", action: "back" },
  { keys: ["?"], does: "show this", action: "help" },
];

// Keys that also work while something is being typed.
const ANYWHERE = ["ArrowDown", "ArrowUp", "Escape"];

const QUERIES = [
  ["one two", "lines with both words"],
  ["\"one two\"", "lines with this text"],
  ["-word", "lines without it"],
  ["/err(no|or)/", "lines that a regular expression matches"],
  ["file:kernel/ -file:*.h", "only files whose path fits the one and not the other"],
  ["file:*.c,*.rs", "files that fit either; without words, files are found by name"],
  ["lang:c -lang:python", "only files of a language, or none of it"],
  ["case:yes", "capitals count (they do if there are any); also no and auto"],
  ["root:linux", "only one of several trees"],
];

const NAMES = { ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc" };

export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = document.activeElement;
    const isTyping = target?.matches("input:not([type=checkbox]), select, textarea");
    // Arrows belong to what chooses among values, and a dialog has keys of its own.
    if (target?.matches("[type=number], select") && event.key.startsWith("Arrow")) return;
    if (document.querySelector("dialog[open]")) return;
    if (isTyping && !ANYWHERE.includes(event.key)) return;
    const found = KEYS.find(({ keys, action }) => action && keys.includes(event.key));
    if (found && actions[found.action]() !== false) event.preventDefault();
  });
  fill(byId("key-table"), KEYS.map(({ keys, does }) => [keys.map((key) => NAMES[key] ?? key), does]));
  fill(byId("query-table"), QUERIES.map(([query, does]) => [[query], does]));
}

function fill(table, rows) {
  for (const [keys, does] of rows) {
    const shown = keys.flatMap((key) => [element("kbd", "", key), " "]);
    table.append(element("tr", "", element("th", "", ...shown), element("td", "", does)));
  }
}
