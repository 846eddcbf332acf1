// Small things that every view needs: making elements, and text in which nothing is hidden.

export const byId = (id) => document.getElementById(id);

// An element with a class and content: texts and other elements.
export function element(tag, name, ...content) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...content);
  return made;
}

export function button(name, label, title, action) {
  const made = element("button", name, label);
  made.type = "button";
  made.title = title;
  made.setAttribute("aria-label", title);
  made.addEventListener("click", action);
  return made;
}

// Characters that change how text is shown without being seen: controls but the tab, marks and
// overrides of direction (source can be made to read other than it is), and those of no width.
const HIDDEN = /[\0-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

// Text as nodes, with hidden characters shown by their codes. They stay in the text, so that
// copying gives what is in the file, but each is isolated: none has a say over its neighbours.
export function visible(text) {
  if (text.search(HIDDEN) < 0) return [text];
  const nodes = [];
  let at = 0;
  for (const { 0: hidden, index } of text.matchAll(HIDDEN)) {
    if (index > at) nodes.push(text.slice(at, index));
    const code = "U+" + hidden.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    const shown = element("span", "hidden-character", hidden);
    shown.dataset.code = code;
    shown.title = "invisible character " + code;
    nodes.push(shown);
    at = index + hidden.length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

// "1 line", "2 lines", "1,000 lines".
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

let toastTimer = 0;

// Says something for a moment, to the eye and to a screen reader.
export function toast(message) {
  const place = byId("toast");
  place.textContent = message;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { place.textContent = ""; }, 3000);
}
