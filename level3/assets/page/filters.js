// Filters of the query language, as the page writes them into queries and takes them out again.

const quoted = (text) => `"${text.replace(/["\\]/g, "\\$&")}"`;

// Text in a pattern of paths, of which no character has a meaning.
const plain = (text) => text.replace(/[*?[\]{}!,\\]/g, "\\$&");

// The filter `prefix:value`.
const filter = (prefix, value) => `${prefix}:${value === "" || /[\s",]/.test(value) ? quoted(value) : value}`;

// What a facet stands for. A folder is that one, and not every path that has its name somewhere.
export const facetFilter = (prefix, name) => filter(prefix, prefix === "file" ? `${plain(name)}**` : name);

// Only this file, of this tree. The braces make it a pattern, which the slash has begin at the root.
export const onlyFile = ({ root, path }) => `file:${quoted(`/{${plain(path)}}`)} root:${quoted(root)}`;

// A filter with the space in front.
const FILTER = /(?:^|\s+)-?(?:file|lang|root|case):(?:"(?:[^"\\]|\\.)*"|[^\s"])*/g;

// The filters of a query, and what is left of it without them.
export const filtersOf = (query) => (query.match(FILTER) ?? []).map((found) => found.trim());
export const withoutFilters = (query) => query.replace(FILTER, "").trim();

export const without = (query, unwanted) =>
  query.replace(FILTER, (found) => (found.trim() === unwanted ? "" : found)).trim();

// With a filter more. What a quote or a slash opens in a query might be closed by one behind it, so
// there it stands in front.
export function withFilter(query, wanted) {
  const opens = /(?:^|\s)-?["/]/.test(query);
  return (opens ? `${wanted} ${query}` : `${query.trimEnd()} ${wanted}`).trim();
}
