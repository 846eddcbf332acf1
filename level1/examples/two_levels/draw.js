// The picture: the object, the block that is worked on, the table of rows and columns.

const colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "quiet", "rule", "accent", "stripe", "same", "row", "column", "both", "good"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

function sizeCanvas(canvas, height) {
  const ratio = Math.min(devicePixelRatio || 1, 2), width = canvas.clientWidth;
  canvas.style.height = `${height}px`;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.textBaseline = "middle";
  return { context, width, height };
}

const font = (context, size, family = "system-ui, sans-serif") => { context.font = `${size}px ${family}`; };
const MONO = "ui-monospace, monospace";

function layOut(width) {
  const narrow = width < 560, label = narrow ? 10 : 86, blocks = data.bytes.length / 128, line = narrow ? 15 : 20;
  const blocksY = 26, stripsY = blocksY + blocks * line + 30, tableY = stripsY + 84;
  return { narrow, label, width, blocks, line, blocksY, stripsY, tableY, cell: narrow ? 40 : 44, height: tableY + 40 + 4 * (narrow ? 40 : 44) + 14 };
}

function draw(app) {
  const lay = layOut(app.map.clientWidth), { context } = sizeCanvas(app.map, lay.height);
  const piece = data.pieces[pieceAt(app.step)];
  drawBlocks(context, lay, piece);
  drawStrips(context, lay, piece, doneOf(piece, app.step));
  drawTable(context, lay, app.step, piece);
}

// The object's text, a line for each block; what cannot be shown is a dot.
function drawBlocks(context, lay, piece) {
  const cell = (lay.width - lay.label - 10) / 64;
  font(context, 12);
  context.fillStyle = colours.quiet;
  context.textAlign = "left";
  context.fillText("the object: a line is a block of 64 bytes", 10, 13);
  for (let at = 0; at < data.bytes.length / 2; at++) {
    const x = lay.label + at % 64 * cell, y = lay.blocksY + Math.floor(at / 64) * lay.line, kind = kindOfByte(at);
    context.globalAlpha = kind === 1 || kind === 2 ? 1 : kind === 3 ? 0.12 : 0.22;
    context.fillStyle = [colours.same, colours.row, colours.column, colours.same][kind];
    context.fillRect(x, y, cell - 0.5, lay.line - 3);
    context.globalAlpha = 1;
    const code = parseInt(data.bytes.slice(2 * at, 2 * at + 2), 16), sign = byteSign(piece, at, code);
    if (cell < 8 || kind === 3 && code === 0) continue;
    context.fillStyle = kind === 1 || kind === 2 ? colours.paper : colours.ink;
    font(context, 11, MONO);
    context.textAlign = "center";
    context.fillText(sign, x + cell / 2, y + lay.line / 2 - 1);
  }
  const y = lay.blocksY + piece.block * lay.line - 2;
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  context.strokeRect(lay.label - 2, y, 64 * cell + 4, lay.line + 1);
  if (lay.narrow) return;
  font(context, 12);
  context.textAlign = "left";
  for (let block = 0; block < lay.blocks; block++) {
    context.fillStyle = block === piece.block ? colours.accent : colours.quiet;
    const name = block === lay.blocks - 1 ? "nonce block" : block === lay.blocks - 2 ? "row block" : `block ${block}`;
    context.fillText(name, 4, lay.blocksY + block * lay.line + lay.line / 2 - 1);
  }
}

// The digits are those of the row and the column that are worked on.
function byteSign(piece, at, code) {
  const last = data.bytes.length / 2 - 64;
  if (kindOfByte(at) === 1) return data.rows[Math.max(0, piece.row)][at - last + 10];
  if (kindOfByte(at) === 2) return data.columns[Math.max(0, piece.column)][at - last - 52];
  return code > 32 && code < 127 ? String.fromCharCode(code) : "·";
}

// Whether pieces of a kind differ in a word.
function differs(kind, t) {
  const words = data.pieces.filter(piece => piece.kind === kind).map(piece => wordOf(piece, t));
  return words.some(word => word !== words[0]);
}

// What a word of the piece's block depends on, and what a round is done for.
function wordColour(piece, t) {
  if (piece.kind === "before") return colours.same;
  if (piece.kind === "row") return differs("row", t) ? colours.row : colours.same;
  return differs("schedule", t) ? colours.column : colours.same;
}
function roundColour(piece, t) {
  if (piece.kind === "before") return colours.same;
  return piece.kind === "row" || t < data.reached ? colours.row : colours.both;
}

function drawStrips(context, lay, piece, done) {
  const x0 = lay.label, cell = (lay.width - x0 - 10) / 80, { stripsY: y } = lay, at = piece.kind === "schedule" ? 16 + done : piece.first + done;
  font(context, 12);
  context.textAlign = "left";
  context.fillStyle = colours.quiet;
  context.fillText(titleOf(piece), 10, y - 14);
  if (!lay.narrow) {
    context.fillText("words", 10, y + 11);
    context.fillText("rounds", 10, y + 45);
  }
  for (let t = 0; t < 80; t++) {
    const x = x0 + t * cell, isSchedule = piece.kind === "schedule";
    strip(context, x, y, cell, 22, wordColour(piece, t), !isSchedule || t < at);
    strip(context, x, y + 34, cell, 22, roundColour(piece, t), isSchedule ? t < data.reached : t < at);
  }
  context.fillStyle = colours.quiet;
  font(context, 10);
  context.textAlign = "center";
  for (const t of lay.narrow ? [0, 13, 40, 79] : [0, 13, 16, 20, 40, 60, 79]) context.fillText(t, x0 + (t + 0.5) * cell, y + 64);
  context.fillStyle = colours.accent;
  const cursor = x0 + Math.min(at, 80) * cell;
  if (piece.kind === "schedule") context.fillRect(cursor - 1, y - 3, 2, 28); else context.fillRect(cursor - 1, y + 31, 2, 28);
}

function strip(context, x, y, width, height, colour, done) {
  context.globalAlpha = done ? 1 : 0.22;
  context.fillStyle = colour;
  context.fillRect(x, y, Math.max(1, width - 1), height);
  context.globalAlpha = 1;
}

// Rows at the left, columns above, hashes inside, each as full as it is done.
function drawTable(context, lay, step, current) {
  const left = lay.narrow ? 104 : 190, right = lay.width - 10, width = (right - left) / 4, { tableY: top, cell: height } = lay;
  for (let column = 0; column < 4; column++) {
    const piece = find("schedule", -1, column);
    box(context, left + column * width, top, width, 34, doneOf(piece, step) / 64, colours.column, piece === current);
    label(context, lay, `${data.columns[column]}`, left + (column + 0.5) * width, top + 17, doneOf(piece, step) > 0);
  }
  for (let row = 0; row < 4; row++) {
    const pieces = [find("row", row, -1), find("carry", row, -1)], y = top + 40 + row * height;
    const done = pieces.reduce((sum, piece) => sum + doneOf(piece, step), 0);
    box(context, 10, y, left - 16, height - 6, done / 93, colours.row, pieces.includes(current));
    label(context, lay, data.rows[row], 10 + (left - 16) / 2, y + height / 2 - 3, done > 0);
    for (let column = 0; column < 4; column++) drawHash(context, lay, step, current, { row, column, x: left + column * width, y, width, height });
  }
}

function drawHash(context, lay, step, current, { row, column, x, y, width, height }) {
  const piece = find("hash", row, column), done = doneOf(piece, step) / piece.steps, id = data.ids[row][column];
  const found = done === 1 && id.startsWith("0");
  box(context, x, y, width, height - 6, done, found ? colours.good : colours.both, piece === current);
  if (done < 1) return;
  context.fillStyle = found ? colours.good : colours.ink;
  font(context, lay.narrow ? 11 : 13, MONO);
  context.textAlign = "center";
  context.fillText(`${id.slice(0, lay.narrow ? 6 : 12)}…`, x + width / 2 - 2, y + height / 2 - 3);
}

function label(context, lay, text, x, y, begun) {
  font(context, lay.narrow ? 11 : 13, MONO);
  context.textAlign = "center";
  context.fillStyle = begun ? colours.ink : colours.quiet;
  context.fillText(text, x - 2, y);
}

function box(context, x, y, width, height, share, colour, current) {
  context.fillStyle = colours.stripe;
  context.fillRect(x, y, width - 4, height);
  context.globalAlpha = 0.28;
  context.fillStyle = colour;
  context.fillRect(x, y, (width - 4) * share, height);
  context.globalAlpha = 1;
  context.strokeStyle = current ? colours.accent : colours.rule;
  context.lineWidth = current ? 2 : 1;
  context.strokeRect(x + 0.5, y + 0.5, width - 5, height - 1);
}

// All steps, coloured by what they are done for.
function drawScrub(app) {
  const { context, width, height } = sizeCanvas(app.scrub, 34);
  for (const piece of data.pieces) {
    context.fillStyle = { before: colours.same, row: colours.row, carry: colours.row, schedule: colours.column, hash: colours.both }[piece.kind];
    context.globalAlpha = piece.from + piece.steps <= app.step ? 0.9 : 0.4;
    context.fillRect(piece.from / app.steps * width, 6, Math.max(1, piece.steps / app.steps * width - 0.7), height - 12);
  }
  context.globalAlpha = 1;
  context.fillStyle = colours.accent;
  context.fillRect(app.step / app.steps * width - 1, 0, 2, height);
}
