// What is wrong with a query, shown below it with the place marked.
import { byId, element } from "./dom.js";
import { paint } from "./lines.js";

const query = byId("query");
const place = byId("problem");

// Shows a message, or takes it away. `position` is [start, end] in characters of the query.
export function showProblem(message, text = "", position = null) {
  place.hidden = !message;
  query.setAttribute("aria-invalid", String(Boolean(message && position)));
  place.replaceChildren();
  if (!message) return;
  if (position) place.append(element("code", "wrong", ...marked(text, position)), " ");
  place.append(message);
}

// The query with its faulty part marked; a fault at the end has a place as well.
function marked(text, [start, end]) {
  const characters = Array.from(text).length;
  if (start >= characters) return [...paint(text), element("mark", "", "␣")];
  return paint(text, [[start, Math.max(end, start + 1)]]);
}
