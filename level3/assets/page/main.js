// The page: what the address says is shown, and what is done changes the address.
//
// There are three views in one document: results, a file, a folder. Going from one to another keeps
// the results as they are, so that coming back is at once and finds them where they were left.
import { read, write } from "./address.js";
import { copy } from "./copy.js";
import { byId } from "./dom.js";
import { onChoice } from "./facets.js";
import { FileView } from "./file.js";
import { FolderView } from "./folder.js";
import { listen } from "./keys.js";
import { Search } from "./search.js";

const form = byId("form");
const fields = { query: byId("query"), regex: byId("regex"), case: byId("case"), context: byId("context"), sort: byId("sort") };
const { query } = fields;
const searchView = byId("search-view");
const search = new Search();
const views = { file: new FileView(), folder: new FolderView() };

let place = read(location);
// Whether what is being typed goes on with the newest entry of the history. Anything else that is
// done ends that, so that Back returns to what was looked at and not to every letter.
let isTyping = false;

// What the form asks for.
function asked() {
  const context = Number.parseInt(fields.context.value, 10);
  return {
    view: "search", query: query.value, regex: fields.regex.checked, case: fields.case.checked,
    context: context >= 0 ? Math.min(context, 20) : 0, sort: fields.sort.value,
  };
}

function fill({ query: text, regex, case: isExact, context, sort }) {
  if (query.value !== text) query.value = text;
  Object.assign(fields.regex, { checked: regex });
  Object.assign(fields.case, { checked: isExact });
  Object.assign(fields.context, { value: context });
  Object.assign(fields.sort, { value: sort });
}

// Goes to a place: a new entry of the history, or the newest one changed.
function go(to, { isNew = true } = {}) {
  // How it was left has to be kept before anything changes; the address can wait until the server
  // has been asked.
  if (isNew) remember();
  show(to);
  if (isNew) history.pushState({ isInside: true }, "", write(to));
  else history.replaceState(history.state, "", write(to));
}

// Keeps in the history where this place was left.
function remember() {
  const focus = document.activeElement?.closest?.("a[href]")?.getAttribute("href");
  history.replaceState({ ...history.state, scroll: window.scrollY, focus }, "");
}

async function show(to, left = null) {
  place = to;
  fill(to);
  searchView.hidden = to.view !== "search";
  views.file.place.hidden = to.view !== "file";
  views.folder.place.hidden = to.view !== "folder";
  const shown = (views[to.view] ?? search).show(to);
  document.title = [to.path || to.query, "level3 code search"].filter(Boolean).join(" – ");
  await shown;
  if (to.view !== "search") return;
  if (!left || place !== to) return;
  window.scrollTo(0, left.scroll ?? 0);
  const link = search.results.links().find((link) => link.getAttribute("href") === left.focus);
  (link ?? query).focus({ preventScroll: true });
}

// Moves among links; in front of the first is the query.
function move(step) {
  if (place.view === "file") return false;
  const links = place.view === "search" ? search.results.links() : views.folder.links();
  const at = links.indexOf(document.activeElement) + step;
  if (at >= links.length && place.view === "search") search.next();
  const target = at < 0 ? query : links[Math.min(at, links.length - 1)];
  target?.focus();
  target?.scrollIntoView({ block: "nearest" });
}

function up() {
  if (place.view === "search") return false;
  const path = place.path.replace(/[^/]*\/?$/, "");
  go({ ...place, view: "folder", path, lines: undefined });
}

function back() {
  isTyping = false;
  if (place.view === "search") return query.select();
  // Where it came from, if that was here; else to the results of the query.
  if (history.state?.isInside) history.back();
  else go({ ...asked(), view: "search" });
}

// Opens a link of ours without loading the page again.
function follow(event) {
  const link = event.target.closest("a[href]");
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !isPlain || event.defaultPrevented || link.origin !== location.origin) return;
  if (!["/", "/view"].includes(link.pathname)) return;
  event.preventDefault();
  // Who has just selected some text does not want to leave it.
  if (String(getSelection()) && event.detail > 0) return;
  isTyping = false;
  link.focus({ preventScroll: true });
  go(read(link));
}

form.addEventListener("input", () => {
  const isNew = !isTyping || place.view !== "search";
  isTyping = true;
  go(asked(), { isNew: isNew && write(place) !== "/" });
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  isTyping = false;
  if (place.view !== "search") go(asked());
  else search.ready.then(() => search.results.links()[0]?.focus());
});
document.addEventListener("click", follow);
onChoice((to) => { isTyping = false; go({ ...to, view: "search" }); });
byId("show-keys").addEventListener("click", () => byId("keys").showModal());
history.scrollRestoration = "manual";
window.addEventListener("popstate", ({ state }) => {
  isTyping = false;
  show(read(location), state ?? {});
});
listen({
  query: () => query.select(),
  next: () => move(1),
  previous: () => move(-1),
  nextHit: () => (place.view === "file" ? views.file.walk(1) : move(1)),
  previousHit: () => (place.view === "file" ? views.file.walk(-1) : move(-1)),
  copyPlace: () => copy(place.view === "file" ? views.file.label : document.activeElement.dataset.place ?? location.href),
  copyLink: () => copy(place.view === "file" ? views.file.permalink : document.activeElement.href ?? location.href),
  findFile: () => { query.value = "file:"; query.focus(); },
  up,
  edit: () => (place.view === "file" ? byId("editor")?.click() : false),
  back,
  help: () => byId("keys").showModal(),
});
// What stays in sight below the bar needs to know how high that is.
new ResizeObserver(([bar]) => {
  document.documentElement.style.setProperty("--bar-height", `${bar.borderBoxSize[0].blockSize}px`);
}).observe(byId("bar"));
show(place);
