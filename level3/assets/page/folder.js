// A folder of an indexed tree, and the way to it from its root.
import * as api from "./api.js";
import { write } from "./address.js";
import { byId, count, element, visible } from "./dom.js";

// Links to the folders above a file or folder, and its own name.
export function breadcrumbs({ root, path, query }) {
  const trail = element("nav", "trail");
  trail.setAttribute("aria-label", "Path");
  const step = (name, to) => {
    const link = element("a", "", ...visible(name));
    link.href = write({ view: "folder", root, path: to, query });
    return link;
  };
  trail.append(step(root || "all", ""));
  const names = path.split("/").filter(Boolean);
  names.forEach((name, at) => {
    const isLast = at === names.length - 1;
    const to = names.slice(0, at + 1).join("/") + "/";
    const here = element("b", "", ...visible(name));
    if (isLast) here.setAttribute("aria-current", "page");
    trail.append(" / ", isLast ? here : step(name, to));
  });
  return trail;
}

export class FolderView {
  constructor() {
    this.place = byId("folder-view");
    this.controller = new AbortController();
  }

  async show(shown) {
    this.controller.abort();
    this.controller = new AbortController();
    const { signal } = this.controller;
    try {
      const { folders, files } = await api.folder(shown, signal);
      if (signal.aborted) return;
      const items = [...folders.map((folder) => ({ ...folder, name: folder.name + "/" })), ...files.map((name) => ({ name }))];
      const list = element("ul", "items", ...items.map((item) => entry(item, shown)));
      const summary = `${count(folders.length, "folder")}, ${count(files.length, "file")}`;
      this.place.replaceChildren(breadcrumbs(shown), element("p", "note", summary), list);
      list.querySelector("a")?.focus({ preventScroll: true });
    } catch (error) {
      if (signal.aborted) return;
      const problem = element("p", "warning", error.message);
      problem.setAttribute("role", "alert");
      this.place.replaceChildren(breadcrumbs(shown), problem);
    }
  }

  links() {
    return [...this.place.querySelectorAll(".items a")];
  }
}

function entry({ name }, { root, path, query }) {
  const link = element("a", "item", ...visible(name));
  const to = path + name;
  link.href = write({ view: name.endsWith("/") ? "folder" : "file", root, path: to, query });
  link.dataset.place = to;
  return element("li", "", link);
}
