// Where nothing is found: what narrows the search down, and a way to search without it.
import { write } from "./address.js";
import { element, visible } from "./dom.js";
import { filtersOf, withoutFilters } from "./filters.js";

// Links to wider searches; nothing if there are none.
export function hint(asked) {
  const filters = filtersOf(asked.query);
  const rest = withoutFilters(asked.query);
  const wider = [];
  if (filters.length > 0 && rest) wider.push([filters.join(" "), { ...asked, query: rest }]);
  if (asked.case) wider.push(["Aa", { ...asked, case: false }]);
  if (asked.regex) wider.push([".*", { ...asked, regex: false }]);
  if (wider.length === 0) return "";
  const links = wider.flatMap(([without, to]) => [" · ", link(without, to)]);
  return element("p", "hint", "Search without ", ...links.slice(1));
}

function link(without, to) {
  const made = element("a", "", element("code", "", ...visible(without)));
  made.href = write(to);
  return made;
}
