// Where the hits are: folders and languages with their counts, to click. A click adds a filter to
// the query, where it can be seen and changed; another one takes it out again.
import { byId, count, element, visible } from "./dom.js";
import { facetFilter, filtersOf, withFilter, without } from "./filters.js";

const place = byId("facets");
let choose = () => {};

// Says what to do with a query that was clicked together.
export function onChoice(action) {
  choose = action;
}

export function showFacets(counted, asked) {
  const groups = [
    ["Trees", "root", counted?.roots.length > 1 ? counted.roots : []],
    ["Folders", "file", counted?.folders],
    ["Languages", "lang", counted?.languages],
  ];
  const shown = groups.filter(([, , items]) => items?.length > 0);
  place.hidden = shown.length === 0;
  place.setAttribute("aria-busy", "false");
  place.classList.remove("old");
  place.replaceChildren(...shown.map(([title, prefix, items]) => group(title, prefix, items, asked, counted)));
}

function group(title, prefix, items, asked, { at_least: isCut }) {
  const list = element("ul", "", ...items.map((item) => element("li", "", facet(prefix, item, asked, isCut))));
  const details = element("details", "", element("summary", "", title), list);
  details.open = window.matchMedia("(min-width: 60rem)").matches;
  return details;
}

function facet(prefix, { name, count: lines }, asked, isCut) {
  const filter = facetFilter(prefix, name);
  const isOn = filtersOf(asked.query).includes(filter);
  const query = isOn ? without(asked.query, filter) : withFilter(asked.query, filter);
  const number = element("span", "count", (isCut ? "≥ " : "") + lines.toLocaleString("en"));
  const made = element("button", "facet", element("span", "", ...visible(name || "(unnamed)")), " ", number);
  made.type = "button";
  made.setAttribute("aria-pressed", String(isOn));
  made.title = `${filter}: ${count(lines, "line")}`;
  made.addEventListener("click", () => choose({ ...asked, query }));
  return made;
}
