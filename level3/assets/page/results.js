// The list of hits: a section for each file, with lines around them merged and gaps marked.
//
// Hits come in pages, each behind the one before; a file may go on in the next page.
import { write, writeLines } from "./address.js";
import { button, byId, count, element, visible } from "./dom.js";
import { copy } from "./copy.js";
import { paint } from "./lines.js";

export class Results {
  constructor() {
    this.place = byId("results");
    this.clear();
  }

  clear() {
    this.last = null;
    this.shown = 0;
    this.place.replaceChildren();
    delete this.place.dataset.query;
  }

  // Shows the first hits in place of what was there.
  replace(hits, asked) {
    this.last = null;
    this.shown = 0;
    const sections = document.createDocumentFragment();
    this.add(hits, asked, sections);
    const had = document.activeElement;
    const hadFocus = this.place.contains(had);
    this.place.replaceChildren(sections);
    // Whose results these are.
    this.place.dataset.query = asked.query;
    // Who was at a result is at one still: the same, or the first.
    if (!hadFocus) return;
    const links = this.links();
    (links.find((link) => link.dataset.place === had.dataset.place) ?? links[0])?.focus();
  }

  // Lets it be seen that the hits are in another order than they were.
  announceOrder() {
    this.place.classList.remove("reordered");
    // Read, so that the animation starts anew.
    void this.place.offsetWidth;
    this.place.classList.add("reordered");
  }

  // Shows further hits behind those that are there.
  append(hits, asked) {
    const sections = document.createDocumentFragment();
    this.add(hits, asked, sections);
    this.place.append(sections);
  }

  add(hits, asked, sections) {
    for (const hit of hits) {
      if (this.last?.file !== hit.file || this.last.root !== hit.root) {
        this.last = new FileHits(hit, asked);
        sections.append(this.last.section);
      }
      // A file that was found by its name has no line.
      if (hit.line > 0) this.last.add(hit);
      else this.last.link.classList.add("open");
    }
    this.shown += hits.length;
  }

  // The links of all hits, in their order.
  links() {
    return [...this.place.querySelectorAll("a.open")];
  }
}

// The hits in one file.
class FileHits {
  constructor({ file, root }, asked) {
    Object.assign(this, { file, root });
    this.context = asked.context;
    this.address = write({ ...asked, view: "file", path: file, root });
    const cut = file.lastIndexOf("/") + 1;
    const link = element("a", "", ...visible(file.slice(0, cut)), element("b", "", ...visible(file.slice(cut))));
    link.href = this.address;
    link.dataset.place = file;
    this.link = link;
    const title = element("h2", "", ...(root ? [element("span", "root", root), " "] : []), link);
    title.append(" ", button("copy", "copy", "Copy the path", () => copy(file)));
    this.list = element("ol", "lines");
    this.list.dir = "ltr";
    this.section = element("section", "file", title, this.list);
    this.section.setAttribute("aria-label", file);
    this.rows = new Map();
    this.end = 0;
  }

  add(hit) {
    const before = hit.before ?? [];
    before.forEach((text, at) => this.put(hit.line - before.length + at, text));
    this.put(hit.line, hit.text, hit);
    (hit.after ?? []).forEach((text, at) => this.put(hit.line + 1 + at, text));
  }

  // Shows a line, unless it is there. A line around one hit may be a hit itself.
  put(number, text, hit) {
    const known = this.rows.get(number);
    if (known && !hit) return;
    const row = hit ? this.hit(hit) : near(number, text);
    this.rows.set(number, row);
    if (known) return known.replaceWith(row);
    const left = number - this.end - 1;
    if (this.end > 0 && left > 0 && this.context > 0) this.list.append(gap(left));
    this.list.append(row);
    this.end = Math.max(this.end, number);
  }

  hit(hit) {
    const link = element("a", "open", element("span", "number", String(hit.line)), shownText(hit));
    link.href = this.address + writeLines({ from: hit.line, to: hit.line });
    link.draggable = false;
    link.dataset.place = `${this.file}:${hit.line}`;
    link.dataset.column = hit.column;
    return element("li", "hit", link);
  }
}

// The text of a hit. A very long line is cut around its first match.
function shownText(hit) {
  const code = element("code", "", ...paint(hit.text, hit.spans));
  if (hit.offset > 0) code.prepend(element("span", "cut", "… "));
  if (hit.cut) code.append(element("span", "cut", " …"));
  return code;
}

const near = (number, text) =>
  element("li", "near", element("span", "number", String(number)), element("code", "", ...paint(text)));

function gap(lines) {
  const row = element("li", "gap", "⋯");
  row.title = `${count(lines, "line")} left out`;
  row.setAttribute("aria-label", row.title);
  return row;
}
