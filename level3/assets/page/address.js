// What the address says, as a value, and back:
//
//   /?query=…&context=2&sort=best            a search
//   /view?root=…&path=a/b.c&query=…#L3-L9    a file at some lines, with the hits of a search
//   /view?root=…&path=a/                     a folder
//
// Settings at their defaults are left out, so that addresses are short enough to be passed on.

const DEFAULTS = { query: "", regex: false, case: false, context: 0, sort: "path" };

// The settings of a search.
function settings(parameters) {
  const flag = (name) => ["true", "1", ""].includes(parameters.get(name) ?? "no");
  const context = Number.parseInt(parameters.get("context") ?? "0", 10);
  return {
    query: parameters.get("query") ?? "",
    regex: flag("regex"),
    case: flag("case"),
    context: context >= 0 && context <= 20 ? context : 0,
    sort: parameters.get("sort") === "best" ? "best" : "path",
  };
}

export function read({ pathname, search, hash }) {
  const old = pathname === "/" && /[#&]q=/.test(hash);
  const parameters = new URLSearchParams(old ? translated(hash.slice(1)) : search);
  const asked = settings(parameters);
  if (pathname !== "/view") return { view: "search", ...asked };
  const path = parameters.get("path") ?? "";
  const place = { root: parameters.get("root") ?? "", path, ...asked };
  if (path === "" || path.endsWith("/")) return { view: "folder", ...place };
  return { view: "file", ...place, lines: readLines(hash) };
}

export function write(place) {
  const parameters = new URLSearchParams();
  if (place.view !== "search") {
    if (place.root) parameters.set("root", place.root);
    parameters.set("path", place.path);
  }
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    if (place[name] !== undefined && place[name] !== usual) parameters.set(name, place[name]);
  }
  // Slashes need no code here, and a path is easier to read with them.
  const text = parameters.toString().replaceAll("%2F", "/");
  const front = place.view === "search" ? "/" : "/view";
  return front + (text ? "?" + text : "") + (place.lines ? writeLines(place.lines) : "");
}

// "#L12" and "#L12-L20".
function readLines(hash) {
  const found = /^#L(\d{1,9})(?:-L?(\d{1,9}))?$/.exec(hash);
  if (!found) return null;
  const [from, to] = [Number(found[1]), Number(found[2] ?? found[1])];
  return { from: Math.min(from, to), to: Math.max(from, to) };
}

export const writeLines = ({ from, to }) => (to > from ? `#L${from}-L${to}` : `#L${from}`);

// Whether two places ask for the same search.
export const sameSearch = (one, other) => Object.keys(DEFAULTS).every((name) => one[name] === other[name]);

// Earlier versions of this page kept the search behind the `#`, in other words.
function translated(hash) {
  const old = new URLSearchParams(hash);
  const asked = new URLSearchParams();
  const isOn = (name) => ["true", "1"].includes(old.get(name));
  const text = old.get("q");
  const filters = old.get("path") ? ` file:${old.get("path")}` : "";
  const literal = /[\s":]|^[-/]/.test(text) ? `"${text.replace(/["\\]/g, "\\$&")}"` : text;
  const expression = `/${text.replaceAll("/", "\\/")}/`;
  asked.set("query", (isOn("regex") ? expression : literal) + filters);
  if (!isOn("ignore_case")) asked.set("case", "true");
  if (old.get("context")) asked.set("context", old.get("context"));
  return asked.toString();
}
