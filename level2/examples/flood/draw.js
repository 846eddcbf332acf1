// The picture on its canvas: who asks, what waits, the backends; below it what happened over time.

// How long a way is drawn, microseconds of the story; the world's hops take 100.
const FLIGHT = 25_000, FALL = 60_000;
// What a bar's length stands for, requests a second.
const SCALE = 60;
const colours = { list: [] };

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "quiet", "rule", "accent", "stripe", "bad"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
  colours.list = data.clients.map((_, at) => style.getPropertyValue(`--c${at}`).trim());
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
  return { context, width, height };
}

// Where everything is.
function layOut(width) {
  const narrow = width < 560, row = narrow ? 50 : 52, top = 46;
  const height = top + row * data.clients.length + 34;
  const bars = { x: 10, end: Math.round(width * (narrow ? 0.42 : 0.4)) };
  const queue = { x: bars.end + (narrow ? 14 : 40), end: Math.round(width * (narrow ? 0.7 : 0.7)) };
  const places = { x: queue.end + (narrow ? 10 : 40), end: width - 10 };
  const cell = narrow ? 9 : 14, gap = narrow ? 2 : 3;
  return { narrow, row, top, height, bars, queue, places, cell, gap, columns: Math.max(1, Math.floor((queue.end - queue.x) / (cell + gap))) };
}
const clientY = (lay, client) => lay.top + lay.row * client + lay.row / 2;

// The square of the queue's nth: the first is nearest to the backends.
function slot(lay, nth) {
  const column = nth % lay.columns, line = Math.floor(nth / lay.columns);
  return { x: lay.queue.end - lay.cell - column * (lay.cell + lay.gap), y: lay.top + 8 + line * (lay.cell + lay.gap) };
}

function placeBox(lay, place) {
  const height = Math.min(44, (lay.row * data.clients.length - 70) / 4), backend = place >> 1;
  return { x: lay.places.x, y: lay.top + 22 + place * (height + 6) + backend * 34, width: lay.places.end - lay.places.x, height };
}

function draw(app) {
  const lay = layOut(app.map.clientWidth), { context } = sizeCanvas(app.map, lay.height);
  const run = app.run, time = app.time, counts = countsAt(run, time), level = fairLevel(counts.map(count => count.asked));
  context.textBaseline = "middle";
  drawHeads(context, lay);
  counts.forEach((count, client) => drawClient(context, lay, client, count));
  drawLevel(context, lay, level);
  const waiting = waitingAt(run, time);
  drawQueue(context, app, lay, waiting);
  drawPlaces(context, run, lay, time);
  drawMoving(context, run, lay, time);
}

function font(context, size, weight = "") { context.font = `${weight} ${size}px system-ui, sans-serif`; }

function drawHeads(context, lay) {
  font(context, lay.narrow ? 11 : 12);
  context.fillStyle = colours.quiet;
  context.textAlign = "left";
  context.fillText("who asks", lay.bars.x, 14);
  context.fillText("backends", lay.places.x, 14);
  context.textAlign = "right";
  context.fillText("the queue", lay.queue.end, 14);
}

const shown = number => number >= 10 ? number.toFixed(0) : number.toFixed(1).replace(/\.0$/, "");

function drawClient(context, lay, client, count) {
  const y = clientY(lay, client), { x, end } = lay.bars, length = end - x, unit = length / SCALE, colour = colours.list[client];
  context.textAlign = "left";
  font(context, 13, "600");
  context.fillStyle = colour;
  context.fillText(data.clients[client], x, y - 12);
  font(context, lay.narrow ? 11 : 12);
  context.fillStyle = colours.quiet;
  context.textAlign = "right";
  const asks = lay.narrow ? `${shown(count.answered)} of ${shown(count.asked)}/s` : `asks ${shown(count.asked)}/s, gets ${shown(count.answered)}`;
  context.fillText(count.asked || count.answered ? asks : "silent", end, y - 12);
  context.fillStyle = colours.stripe;
  context.fillRect(x, y, length, 12);
  context.fillStyle = colour;
  context.fillRect(x, y, Math.min(length, count.answered * unit), 12);
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.strokeRect(x, y, Math.min(length, count.asked * unit), 12);
  if (count.asked <= SCALE) return;
  context.beginPath();
  context.moveTo(end + 2, y + 1);
  context.lineTo(end + 8, y + 6);
  context.lineTo(end + 2, y + 11);
  context.fill();
}

function drawLevel(context, lay, level) {
  if (level === undefined) return;
  const x = lay.bars.x + level / SCALE * (lay.bars.end - lay.bars.x);
  context.strokeStyle = colours.ink;
  context.lineWidth = 1;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(x, lay.top - 8);
  context.lineTo(x, lay.height - 30);
  context.stroke();
  context.setLineDash([]);
  font(context, lay.narrow ? 10 : 12);
  context.fillStyle = colours.ink;
  context.textAlign = x > (lay.bars.x + lay.bars.end) / 2 ? "right" : "left";
  context.fillText(`fair level ${shown(level)}/s`, Math.max(lay.bars.x, x - (context.textAlign === "left" ? 0 : -4)), lay.top - 15);
}

function square(context, lay, client, x, y) {
  context.fillStyle = colours.list[client];
  context.fillRect(x, y, lay.cell, lay.cell);
}

function drawQueue(context, app, lay, waiting) {
  const { client } = app.run.requests, left = lay.queue.x - 6;
  context.fillStyle = colours.stripe;
  context.fillRect(left, lay.top, lay.queue.end - left + 6, lay.row * data.clients.length);
  waiting.forEach((request, nth) => {
    const { x, y } = slot(lay, nth);
    square(context, lay, client[request], x, y);
  });
  font(context, lay.narrow ? 11 : 12);
  context.fillStyle = colours.quiet;
  context.textAlign = "right";
  context.fillText(waiting.length ? `${waiting.length} wait` : "nobody waits", lay.queue.end, lay.top + lay.row * data.clients.length - 12);
}

function drawPlaces(context, run, lay, time) {
  const { client, decided, worked } = run.requests;
  workingAt(run, time).forEach((request, place) => {
    const { x, y, width, height } = placeBox(lay, place);
    font(context, lay.narrow ? 11 : 12);
    context.textAlign = "left";
    context.fillStyle = colours.quiet;
    if (place % 2 === 0) context.fillText(lay.narrow ? `backend ${place / 2 + 1}` : `backend ${place / 2 + 1}, two places`, x, y - 11);
    context.fillStyle = colours.stripe;
    context.fillRect(x, y, width, height);
    context.strokeStyle = colours.rule;
    context.lineWidth = 1;
    context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
    if (request >= 0) {
      const colour = colours.list[client[request]], share = (time - decided[request]) / (worked[request] - decided[request]);
      context.globalAlpha = 0.3;
      context.fillStyle = colour;
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
      context.fillRect(x, y + height - 5, width * share, 5);
      context.strokeStyle = colour;
      context.lineWidth = 1.5;
      context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
    }
    context.fillStyle = request < 0 ? colours.quiet : colours.ink;
    context.fillText(request < 0 ? "idle" : data.clients[client[request]], x + 6, y + height / 2 - 1, width - 10);
  });
}

// Requests on their way: to a place, and those turned away, which fall.
function drawMoving(context, run, lay, time) {
  const { client, came, decided, place } = run.requests;
  for (let at = search(run.decisions, time - FALL); at < run.count && run.decisions[at] <= time; at++) {
    const request = run.byDecision[at], passed = time - decided[request], start = clientY(lay, client[request]);
    if (place[request] < 0) {
      const share = passed / FALL, x = lay.bars.end + (lay.queue.x - lay.bars.end) / 2 - lay.cell / 2;
      context.globalAlpha = 1 - share;
      square(context, lay, client[request], x, start + share * share * (lay.height - 12 - start));
      context.globalAlpha = 1;
    } else if (passed < FLIGHT) {
      const waited = decided[request] > came[request] + 200, from = waited ? slot(lay, 0) : { x: lay.bars.end, y: start };
      const box = placeBox(lay, place[request]), share = passed / FLIGHT;
      square(context, lay, client[request], from.x + share * (box.x - from.x), from.y + share * (box.y + box.height / 2 - lay.cell / 2 - from.y));
    }
  }
  font(context, lay.narrow ? 11 : 12);
  context.textAlign = "left";
  context.fillStyle = colours.quiet;
  const refused = countsAt(run, time).reduce((sum, count) => sum + count.refused, 0);
  context.fillText(refused ? `turned away at once: ${shown(refused)}/s` : "nobody is turned away", lay.bars.x, lay.height - 14);
}

// What happened over time: the scrubber.
function drawScrub(app) {
  const { context, width, height } = sizeCanvas(app.scrub, 96), run = app.run, top = 14, base = height - 16;
  run.answers ??= answersOverTime(run);
  const bins = run.answers[0].length, most = data.capacity * 1.12, x = bin => bin / bins * width, y = rate => base - rate / most * (base - top);
  const under = new Float64Array(bins);
  run.answers.forEach((row, client) => {
    context.beginPath();
    context.moveTo(0, y(under[0]));
    for (let bin = 0; bin < bins; bin++) context.lineTo(x(bin + 0.5), y(under[bin] + row[bin]));
    context.lineTo(width, y(under[bins - 1] + row[bins - 1]));
    context.lineTo(width, y(under[bins - 1]));
    for (let bin = bins - 1; bin >= 0; bin--) context.lineTo(x(bin + 0.5), y(under[bin]));
    context.fillStyle = colours.list[client];
    context.fill();
    row.forEach((value, bin) => { under[bin] += value; });
  });
  context.strokeStyle = colours.quiet;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(0, y(data.capacity));
  context.lineTo(width, y(data.capacity));
  context.stroke();
  context.setLineDash([]);
  font(context, 11);
  context.fillStyle = colours.quiet;
  context.textBaseline = "middle";
  context.textAlign = "left";
  data.scenes.forEach(({ at }, nth) => {
    context.fillRect(at / data.end * width, base, 1, 5);
    context.fillText(nth + 1, at / data.end * width + 4, height - 7);
  });
  context.fillStyle = colours.accent;
  context.fillRect(app.time / data.end * width - 1, 0, 2, height);
}
