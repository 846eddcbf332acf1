// A line of source as nodes: matches marked, tokens coloured, hidden characters visible.
//
// Positions count characters, as the server does; strings here count UTF-16 units, of which some
// characters take two.
import { element, visible } from "./dom.js";

// Turns positions in characters into positions in a string.
function positions(text) {
  // Only surrogates make a difference.
  if (!/[\ud800-\udfff]/.test(text)) return (at) => Math.min(at, text.length);
  const starts = [];
  let at = 0;
  for (const character of text) {
    starts.push(at);
    at += character.length;
  }
  return (position) => starts[position] ?? text.length;
}

// The nodes of a line. `marks` are [start, end], `colours` are [start, length, name].
export function paint(line, marks = [], colours = []) {
  // Some end in CR LF, which need not be pointed out in each line.
  const text = line.endsWith("\r") ? line.slice(0, -1) : line;
  const at = positions(text);
  const nodes = [];
  let done = 0;
  for (const [start, end] of marks) {
    const [from, to] = [Math.max(at(start), done), at(end)];
    if (to <= from) continue;
    nodes.push(...coloured(text, done, from, colours, at));
    nodes.push(element("mark", "", ...coloured(text, from, to, colours, at)));
    done = to;
  }
  nodes.push(...coloured(text, done, text.length, colours, at));
  return nodes;
}

// The part of a line between two positions of the string, coloured.
function coloured(text, from, to, colours, at) {
  const nodes = [];
  for (const [start, length, name] of colours) {
    const [begin, end] = [Math.max(at(start), from), Math.min(at(start + length), to)];
    if (begin >= end) continue;
    if (begin > from) nodes.push(...visible(text.slice(from, begin)));
    nodes.push(element("span", "token-" + name, ...visible(text.slice(begin, end))));
    from = end;
  }
  if (to > from) nodes.push(...visible(text.slice(from, to)));
  return nodes;
}
