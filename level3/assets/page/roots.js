// The trees that are indexed, for when nothing is searched yet: where they are, what keeps them from
// being up to date, and a way into their folders.
import * as api from "./api.js";
import { write } from "./address.js";
import { element, visible } from "./dom.js";

// A list of the trees; nothing if the server does not say.
export async function listRoots() {
  const roots = await api.roots().catch(() => []);
  return element("ul", "roots", ...roots.map((root) => element("li", "", ...entry(root))));
}

function entry({ name, path, branch, commit, ignore, indexing, error }) {
  const link = element("a", "", ...visible(name || path));
  link.href = write({ view: "folder", root: name, path: "" });
  // As git shortens it where nothing else is said.
  const revision = [branch, commit?.slice(0, 12)].filter(Boolean).join(" at ");
  const notes = [
    name ? path : "", revision, ignore === "git" ? "without what git ignores" : "",
    indexing ? "being indexed" : "", error,
  ];
  return [link, " ", element("span", "note", ...visible(notes.filter(Boolean).join(" · ")))];
}
