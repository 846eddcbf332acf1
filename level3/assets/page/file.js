// A file: its whole text as it was indexed, at the lines that the address names, with the hits of
// the search marked. The text is shown first; marks and colours come as soon as they are there.
import * as api from "./api.js";
import { sameSearch, write, writeLines } from "./address.js";
import { button, byId, count, element, toast } from "./dom.js";
import { copy } from "./copy.js";
import { breadcrumbs } from "./folder.js";
import { paint } from "./lines.js";

// Lines in a block. Blocks that are not in view are not laid out, and coloured when they come near.
const BLOCK = 200;

// Most hits of a file that are marked.
const MARKED = 10000;

const editorUrl = document.querySelector("meta[name=editor-url]").content;

export class FileView {
  constructor() {
    this.place = byId("file-view");
    this.controller = new AbortController();
    this.shown = null;
  }

  async show(shown) {
    const before = this.shown;
    this.shown = shown;
    const isSameText = before && this.lines && before.path === shown.path && before.root === shown.root;
    if (isSameText && sameSearch(before, shown)) return this.goTo(shown.lines);
    this.controller.abort();
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.lines = null;
    try {
      this.place.setAttribute("aria-busy", "true");
      const { text } = await api.file(shown, signal);
      if (signal.aborted) return;
      this.text(text);
      await Promise.all([this.findHits(signal), this.findColours(signal)]);
    } catch (error) {
      if (signal.aborted) return;
      const problem = element("p", "warning", error.message);
      problem.setAttribute("role", "alert");
      this.place.replaceChildren(breadcrumbs(shown), problem);
      this.place.setAttribute("aria-busy", "false");
    }
  }

  // Shows the text, and goes to where it was wanted.
  text(text) {
    const lines = text.split("\n");
    if (lines.at(-1) === "") lines.pop();
    // A mark of the byte order is no part of the first line.
    lines[0] = (lines[0] ?? "").replace(/^\ufeff/, "");
    Object.assign(this, { lines, hits: [], marks: new Map(), colours: [], current: null });
    this.tools = this.bar();
    this.listing = element("div", "listing");
    this.listing.dir = "ltr";
    this.listing.tabIndex = 0;
    this.listing.setAttribute("role", "region");
    this.listing.setAttribute("aria-label", `Text of ${this.shown.path}`);
    for (let first = 0; first < lines.length; first += BLOCK) this.listing.append(this.block(first));
    this.listing.addEventListener("click", (event) => this.clicked(event));
    this.place.replaceChildren(this.tools, this.listing);
    this.place.setAttribute("aria-busy", "false");
    this.goTo(this.shown.lines);
  }

  // The path, and what can be done with the file.
  bar() {
    const { shown } = this;
    const bar = element("div", "tools", breadcrumbs(shown));
    this.counter = element("span", "counter");
    this.counter.setAttribute("role", "status");
    this.note = element("span", "note", count(this.lines.length, "line"));
    const raw = element("a", "button", "Raw");
    raw.href = api.rawAddress(shown);
    const copyPath = button("copy", "Copy path", "Copy the path (y copies it with the line)", () => copy(shown.path));
    bar.append(copyPath, raw);
    if (editorUrl) bar.append(this.editorLink());
    bar.append(this.counter, this.note);
    return bar;
  }

  editorLink() {
    this.editor = element("a", "button", "Editor");
    this.editor.title = "Open at this line in the editor (e)";
    this.editor.id = "editor";
    return this.editor;
  }

  block(first) {
    const block = element("div", "block");
    block.dataset.first = first;
    const lines = this.lines.slice(first, first + BLOCK);
    // About its height, until it is laid out.
    block.style.containIntrinsicSize = `auto ${lines.length * 1.5}em`;
    block.append(...lines.map((text, at) => row(first + at + 1, text)));
    return block;
  }

  row(number) {
    return document.getElementById(`L${number}`);
  }

  repaint(number) {
    const code = this.row(number)?.lastChild;
    const marks = this.marks.get(number)?.spans;
    code?.replaceChildren(...paint(this.lines[number - 1], marks, this.colours[number - 1]));
  }

  // Marks the hits of the search in this file.
  async findHits(signal) {
    if (this.shown.query.trim() === "") return;
    // A query that is faulty, or takes too long, takes nothing from the text.
    const found = await api.hitsIn(this.shown, this.shown, MARKED, signal).catch(() => []);
    if (signal.aborted) return;
    for (const hit of found) {
      // Positions are in the text of the hit, which may be a part of the line.
      const shift = hit.offset ?? 0;
      const spans = hit.spans.map(([start, end]) => [start + shift, end + shift]);
      this.hits.push(hit.line);
      this.marks.set(hit.line, { spans });
      this.repaint(hit.line);
    }
    this.countHits();
  }

  async findColours(signal) {
    // Without colours it is still the text.
    const answer = await api.colours(this.shown, signal).catch(() => null);
    if (signal.aborted || !answer) return;
    this.colours = answer.lines;
    const notes = [count(this.lines.length, "line"), answer.language, answer.ended].filter(Boolean);
    this.note.textContent = notes.join(" · ");
    const observer = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        const first = Number(target.dataset.first) + 1;
        for (let number = first; number < first + BLOCK; number += 1) {
          if (this.colours[number - 1]?.length) this.repaint(number);
        }
        target.dataset.coloured = "true";
      }
    }, { rootMargin: "2000px" });
    for (const block of this.listing.children) observer.observe(block);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  // Selects lines and brings them into view.
  goTo(lines) {
    for (const row of this.listing.querySelectorAll(".selected")) row.classList.remove("selected");
    this.selected = lines && lines.from <= this.lines.length ? lines : null;
    if (this.selected) {
      const to = Math.min(lines.to, this.lines.length);
      for (let number = lines.from; number <= to; number += 1) this.row(number).classList.add("selected");
      this.bringIntoView(this.row(lines.from));
    } else {
      window.scrollTo(0, 0);
      if (lines) toast(`There is no line ${lines.from}; the file has ${count(this.lines.length, "line")}`);
    }
    this.current = lines?.from ?? 1;
    this.listing.focus({ preventScroll: true });
    this.countHits();
    if (this.editor) this.addressEditor();
  }

  // Brings a line into view, and once more when what is above it has been laid out.
  bringIntoView(row) {
    row.scrollIntoView({ block: "center" });
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (row.matches(".selected")) row.scrollIntoView({ block: "nearest" });
    }));
  }

  // Says where the link to the editor leads, which needs to know where the tree is.
  async addressEditor() {
    const roots = await api.roots().catch(() => []);
    const folder = roots.find(({ name }) => name === this.shown.root)?.path;
    if (folder === undefined) return;
    const path = `${folder}/${this.shown.path}`.split("/").map(encodeURIComponent).join("/");
    const parts = { path, line: this.current, column: 1 };
    // A path begins with a slash, which may stand in the address already.
    const address = editorUrl.replace("/{path}", "{path}");
    this.editor.href = address.replace(/\{(path|line|column)\}/g, (_, name) => parts[name]);
  }

  // A click on the number of a line makes it the address; with Shift, all lines up to it.
  clicked(event) {
    const link = event.target.closest("a.number");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const line = Number(link.textContent);
    const from = event.shiftKey && this.selected ? this.selected.from : line;
    this.select({ from: Math.min(from, line), to: Math.max(from, line) });
  }

  select(lines) {
    this.shown = { ...this.shown, lines };
    history.replaceState(history.state, "", write(this.shown));
    this.goTo(lines);
  }

  // Goes to the next hit, or the one before, round the ends.
  walk(step) {
    const { hits, current } = this;
    if (!hits?.length) return toast("No hits of the search in this file");
    const next = step > 0 ? hits.find((line) => line > current) : hits.findLast((line) => line < current);
    const line = next ?? (step > 0 ? hits[0] : hits.at(-1));
    this.select({ from: line, to: line });
  }

  countHits() {
    if (!this.hits.length) return;
    const at = this.hits.indexOf(this.current);
    const hits = count(this.hits.length, "hit");
    this.counter.textContent = at < 0 ? `${hits} (n, N)` : `hit ${at + 1} of ${hits} (n, N)`;
  }

  // "path:line", and the address of the lines.
  get label() {
    return this.selected ? `${this.shown.path}:${this.selected.from}` : this.shown.path;
  }

  get permalink() {
    return location.origin + write({ view: "file", root: this.shown.root, path: this.shown.path, lines: this.selected });
  }
}

function row(number, text) {
  const link = element("a", "number", String(number));
  link.href = writeLines({ from: number, to: number });
  link.tabIndex = -1;
  const made = element("div", "line", link, element("code", "", ...paint(text)));
  made.id = `L${number}`;
  return made;
}
