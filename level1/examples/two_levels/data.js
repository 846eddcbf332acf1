// The pieces of the work on one line of steps, and what is done at a step.

const byId = id => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A step is a round, or a word of a schedule.
const stepsOf = piece => piece.kind === "schedule" ? 64 : piece.states.length / 40 - 1;

// Where each piece begins. Returns the number of steps.
function prepare() {
  let at = 0;
  for (const piece of data.pieces) {
    piece.from = at;
    piece.steps = stepsOf(piece);
    at += piece.steps;
  }
  return at;
}

// The piece at a step; at the very end the last.
function pieceAt(step) {
  let low = 0, high = data.pieces.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data.pieces[middle].from <= step) low = middle; else high = middle - 1;
  }
  return low;
}

// Steps of a piece that are done.
const doneOf = (piece, step) => Math.min(piece.steps, Math.max(0, step - piece.from));
const find = (kind, row, column) => data.pieces.find(piece => piece.kind === kind && piece.row === row && piece.column === column);
const wordOf = (piece, t) => piece.words.slice(8 * t, 8 * t + 8);
const stateOf = (piece, round) => Array.from({ length: 5 }, (_, n) => piece.states.slice(40 * round + 8 * n, 40 * round + 8 * n + 8));

// What a byte of the object is: 0 the same in all sixteen, 1 a row's digit, 2 a column's, 3 padding.
function kindOfByte(at) {
  const last = data.bytes.length / 2 - 64;
  if (at >= data.length) return 3;
  if (at >= last - 10 && at < last) return 1;
  return at >= last + 52 && at < last + 55 ? 2 : 0;
}

// What the steps so far cost, and what the same hashes would have with one nonce, in the last block, and with none of it
// remembered. The blocks before the last are drawn without the words that are made for them; here these count.
function costs(step) {
  const blocks = data.bytes.length / 128, words = 64, whole = 80 + words;
  const hashes = data.pieces.filter(({ kind, from, steps }) => kind === "hash" && from + steps <= step).length;
  const begun = data.pieces.filter(({ kind, from }) => (kind === "before" || kind === "row") && from < step).length;
  return { hashes, two: step + words * begun, one: hashes ? whole * (blocks - 1 + hashes) : 0, none: whole * blocks * hashes };
}
