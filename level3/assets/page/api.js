// What the page asks of the server. An answer that is an error becomes an exception that says why.

import { onlyFile, withFilter } from "./filters.js";

// An answer of the server's that is not what was asked for.
export class Refusal extends Error {
  constructor(body, status) {
    super(body?.error ?? `the server answers ${status}`);
    this.status = status;
    // Where in the query the mistake is: [start, end] in characters.
    this.position = body?.position === undefined ? null : [body.position, body.position + body.length];
  }
}

async function ask(path, parameters, signal) {
  // What may change at any moment is not worth the browser's looking for it in its cache.
  const response = await fetch(`${path}?${parameters}`, { signal, cache: "no-store" });
  if (response.ok) return response;
  throw new Refusal(await response.json().catch(() => null), response.status);
}

// The search that is asked for, as parameters. Settings at their defaults are left out.
function searched({ query, regex, case: isExact, context, sort }) {
  const parameters = new URLSearchParams({ query: isExact ? `${query} case:yes` : query });
  if (regex) parameters.set("regex", "true");
  if (context) parameters.set("context", context);
  if (sort !== "path") parameters.set("sort", sort);
  return parameters;
}

// `limit` hits behind the first `offset`.
export async function search(asked, { offset = 0, limit }, signal) {
  const parameters = searched(asked);
  parameters.set("limit", limit);
  if (offset) parameters.set("offset", offset);
  return (await ask("/search", parameters, signal)).json();
}

// How many hits there are in all, and in which folders and languages.
export async function count(asked, signal) {
  const parameters = searched({ ...asked, context: 0, sort: "path" });
  parameters.set("limit", 0);
  parameters.set("count", "true");
  return (await ask("/search", parameters, signal)).json();
}

// The hits in one file, by line.
export async function hitsIn(asked, { root, path }, limit, signal) {
  const query = withFilter(asked.query, onlyFile({ root, path }));
  const { results } = await search({ ...asked, query, context: 0, sort: "path" }, { limit }, signal);
  // A path that differs in capitals fits as well.
  return results.filter((hit) => hit.file === path && (hit.root ?? "") === root && hit.line > 0);
}

const named = ({ root, path }) => new URLSearchParams(root ? { root, path } : { path });

// Where the text of a file is, as it stands.
export const rawAddress = (place) => `/file?${named(place)}`;

// The text of a file, and the state of the index that it is from.
export async function file(place, signal) {
  const response = await ask("/file", named(place), signal);
  return { text: await response.text(), state: response.headers.get("X-Level3-State") };
}

// The colours of a file, if its language is known.
export const colours = async (place, signal) => (await ask("/colours", named(place), signal)).json();

// What is in a folder.
export const folder = async (place, signal) => (await ask("/tree", named(place), signal)).json();

// The trees that are indexed: their names, and where the server has them.
export async function roots() {
  return (await (await ask("/roots", "")).json()).roots;
}
