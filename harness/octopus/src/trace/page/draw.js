// The picture on its canvas: bands, lanes, arrows, marks, the cursor.

const LANE = 54, TOP = 26, GAP = 26, MARKS = 3000, LABEL = 58;
const COLOURS = 10;
const colours = {};

// Colours by meaning, from the style sheet: once for each scheme.
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "quiet", "rule", "accent", "frozen", "stripe", "good", "bad", "open", "lost", "other"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  colours.list = Array.from({ length: COLOURS }, (_, at) => style.getPropertyValue(`--k${at}`).trim());
}
const termColour = term => term < 0 ? colours.quiet : colours.list[term % COLOURS];
const typeColour = (run, type) => colours.list[(run.typeRank.get(type) ?? 0) % COLOURS];

// Where each run's lanes are, and how tall the whole is.
function layOut(runs, hidden) {
  let y = TOP;
  for (const run of runs) {
    run.top = y;
    run.laneY = run.nodes.map((_, node) => hidden.has(run.nodes[node]) ? NaN : (y += LANE) - LANE / 2);
    run.bottom = y;
    y += GAP;
  }
  return y;
}

function sizeCanvas(canvas, height, width = canvas.clientWidth) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  canvas.style.height = `${height}px`;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = "11px system-ui, sans-serif";
  return { context, width, height };
}

// Round steps of time, about 90 pixels each.
function timeTicks(from, to, width) {
  const raw = (to - from) / Math.max(2, width / 90), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find(factor => factor * power >= raw) * power, ticks = [];
  for (let at = Math.max(0, Math.ceil(from / step)); at * step <= to; at++) ticks.push(at * step);
  return { ticks, step };
}

function drawAxis(context, view, width, height) {
  const { ticks, step } = timeTicks(view.from, view.to, width - LABEL), unit = unitOf(Math.max(view.to * 0.999, step));
  const places = Math.max(0, Math.ceil(-Math.log10(step / unit[0]) - 1e-9));
  context.fillStyle = colours.quiet;
  context.strokeStyle = colours.rule;
  context.lineWidth = 1;
  context.textAlign = "center";
  context.beginPath();
  for (const tick of ticks) {
    const x = Math.round(view.x(tick)) + 0.5;
    if (x < LABEL) continue;
    context.moveTo(x, 18);
    context.lineTo(x, height);
    if (x < width - 24) context.fillText(`${(tick / unit[0]).toFixed(places)} ${unit[1]}`, x, 12);
  }
  context.stroke();
}

function drawBands(context, run, view) {
  context.textAlign = "left";
  let row = 0;
  for (const fault of run.faults) {
    if (fault.end < view.from || fault.start > view.to) continue;
    const x0 = Math.max(LABEL, view.x(fault.start)), x1 = Math.max(x0 + 2, view.x(Math.min(fault.end, view.to)));
    const lanes = new Set([...fault.nodes, ...fault.links.flat()]);
    context.fillStyle = fault.links.length ? colours.lost : colours.other;
    context.globalAlpha = fault.nodes.length ? 0.18 : 0.07;
    const ys = lanes.size ? [...lanes].map(node => run.laneY[node]) : [];
    for (const y of ys) if (y === y) context.fillRect(x0, y - LANE / 2, x1 - x0, LANE);
    if (!lanes.size) context.fillRect(x0, run.top, x1 - x0, run.bottom - run.top);
    context.globalAlpha = 1;
    if (x1 - x0 > 46) {
      context.save();
      context.beginPath();
      context.rect(x0, run.top - 2, x1 - x0, run.bottom - run.top);
      context.clip();
      context.fillText(fault.text, x0 + 3, run.top + 9 + row++ % 3 * 11);
      context.restore();
    }
  }
}

// Lanes: the colour is the term, the form the role.
function drawLanes(context, run, view, dim) {
  run.stretches.forEach((lane, node) => {
    const y = run.laneY[node];
    if (y !== y) return;
    const first = Math.max(0, lane.findIndex(stretch => stretch.end >= view.from));
    for (let at = first; at < lane.length && lane[at].start <= view.to; at++) drawStretch(context, lane[at], y, view, dim);
    context.globalAlpha = 1;
    context.fillStyle = colours.paper;
    context.fillRect(0, y - 9, LABEL - 4, 18);
    context.fillStyle = colours.ink;
    context.textAlign = "right";
    context.fillText(run.nodes[node].slice(0, 9), LABEL - 8, y + 4);
  });
  context.globalAlpha = 1;
}

function drawStretch(context, { start, end, up, role, term }, y, view, dim) {
  if (!up) return;
  const x0 = Math.max(LABEL, view.x(start)), x1 = Math.min(view.width, view.x(Math.min(end, view.length)));
  if (x1 < x0) return;
  const leads = role === "leader", stands = role.endsWith("candidate");
  context.globalAlpha = dim ? 0.45 : 1;
  context.strokeStyle = termColour(term);
  context.lineWidth = leads ? 12 : stands ? 7 : 4;
  context.setLineDash(stands ? [4, 3] : []);
  context.beginPath();
  context.moveTo(x0, y);
  context.lineTo(Math.max(x1, x0 + 1), y);
  context.stroke();
  context.setLineDash([]);
  if (leads && x1 - x0 > 70) {
    context.fillStyle = colours.paper;
    context.textAlign = "left";
    context.fillText(`leads term ${term}`, x0 + 4, y + 4);
  }
}

// Arrows, a path for each colour: thousands stay quick.
function drawArrows(context, run, view, story) {
  const level = levelFor(run, view.from, view.to), groups = new Map(), crosses = new Map();
  visitArrows(level, view.from, view.to, ARROWS, at => {
    const sent = level.sent[at], ended = level.ended[at], y0 = run.laneY[run.node[sent]], y1 = run.laneY[run.peer[sent]];
    if (!(y0 === y0) || !(y1 === y1)) return;
    const lit = story ? story.cone.has(sent) && story.cone.has(ended) : true, key = `${run.message[sent]} ${lit ? 1 : 0}`;
    const x0 = view.x(level.start[at]), isOpen = level.lost[at] || ended < 0;
    const x1 = ended < 0 ? x0 + 14 : view.x(level.end[at]), share = isOpen ? 0.6 : 1;
    let path = groups.get(key);
    if (!path) groups.set(key, path = new Path2D());
    const xe = ended < 0 ? x1 : x0 + (x1 - x0) * share, ye = y0 + (y1 - y0) * (ended < 0 ? 0.3 : share);
    path.moveTo(x0, y0);
    path.lineTo(xe, ye);
    if (level.lost[at]) cross(crosses, key, xe, ye);
    else if (ended >= 0 && Math.abs(x1 - x0) > 3) head(path, x0, y0, x1, y1);
  });
  // Where only some are drawn they are many all the same.
  strokeGroups(context, run, groups, 1, level.share ? 0.4 : 0.9);
  strokeGroups(context, run, crosses, 2, 0.9);
  return level;
}

function cross(crosses, key, x, y) {
  let path = crosses.get(key);
  if (!path) crosses.set(key, path = new Path2D());
  for (const side of [-1, 1]) {
    path.moveTo(x - 4, y - 4 * side);
    path.lineTo(x + 4, y + 4 * side);
  }
}

function head(path, x0, y0, x1, y1) {
  const length = Math.hypot(x1 - x0, y1 - y0), ux = (x1 - x0) / length, uy = (y1 - y0) / length;
  path.moveTo(x1 - 7 * ux - 3 * uy, y1 - 7 * uy + 3 * ux);
  path.lineTo(x1, y1);
  path.lineTo(x1 - 7 * ux + 3 * uy, y1 - 7 * uy - 3 * ux);
}

function strokeGroups(context, run, groups, width, alpha) {
  for (const [key, path] of groups) {
    const [type, lit] = key.split(" ").map(Number);
    context.strokeStyle = typeColour(run, type);
    context.globalAlpha = lit ? alpha : 0.12;
    context.lineWidth = width;
    context.stroke(path);
  }
  context.globalAlpha = 1;
}

// Marks on the lanes, when there is room for them.
function drawMarks(context, run, view, story, matches) {
  const first = search(run.t, view.from, false), end = search(run.t, view.to, true);
  if (end - first <= MARKS) {
    for (let event = first; event < end; event++) {
      const y = run.laneY[run.node[event]];
      if (y === y) drawMark(context, run, event, view.x(run.t[event]), y, !story || story.cone.has(event));
    }
  }
  context.globalAlpha = 1;
  drawMatches(context, run, view, matches);
  return end - first <= MARKS;
}

function drawMark(context, run, event, x, y, lit) {
  const kind = kindOf(run, event);
  if (kind === "send" || kind === "deliver" || kind === "tick" || kind === "drop") return;
  context.globalAlpha = lit ? 1 : 0.15;
  context.fillStyle = colours.ink;
  context.beginPath();
  if (kind === "client") {
    const up = moreOf(run, event).what === "invoke" ? 1 : -1;
    context.fillStyle = moreOf(run, event).what === "fail" || moreOf(run, event).what === "info" ? colours.bad : colours.accent;
    context.moveTo(x, y - 14 + 4 * up);
    context.lineTo(x - 4, y - 14 - 4 * up);
    context.lineTo(x + 4, y - 14 - 4 * up);
  } else if (kind === "persist") context.rect(x - 2.5, y + 8, 5, 5);
  else if (kind === "apply") context.arc(x, y - 9, 2.5, 0, 7);
  else if (kind === "commit") {
    context.moveTo(x, y - 3.5);
    context.lineTo(x + 3.5, y);
    context.lineTo(x, y + 3.5);
    context.lineTo(x - 3.5, y);
  } else context.rect(x - 0.75, y - 8, 1.5, 16);
  context.fill();
}

function drawMatches(context, run, view, matches) {
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  context.beginPath();
  const list = matches ?? [], first = search(list, search(run.t, view.from, false), false);
  for (let at = first, x = -9; at < list.length && run.t[list[at]] <= view.to; at++) {
    const next = view.x(run.t[list[at]]), y = run.laneY[run.node[list[at]]];
    if (next - x < 1 || !(y === y)) continue;
    x = next;
    context.moveTo(x + 6, y);
    context.arc(x, y, 6, 0, 7);
  }
  context.stroke();
}

// The path that took the time, over everything else.
function drawPath(context, run, view, story) {
  context.strokeStyle = colours.ink;
  context.lineWidth = 2.5;
  context.beginPath();
  for (const { from, to } of story.path) {
    context.moveTo(view.x(run.t[from]), run.laneY[run.node[from]]);
    context.lineTo(view.x(run.t[to]), run.laneY[run.node[to]]);
  }
  context.stroke();
}

function drawCursor(context, view, height) {
  const x = view.x(view.cursor);
  if (x < LABEL || x > view.width) return;
  context.fillStyle = colours.accent;
  context.fillRect(x - 0.75, 16, 1.5, height);
}

// The picture and the cursor. The picture is drawn anew only if more has changed than the cursor.
function drawMap(app) {
  const height = layOut(app.runs, app.hidden), { context, width } = sizeCanvas(app.map, height), { view } = app;
  view.width = width;
  if (app.stale) app.left = drawPicture(app, height);
  app.stale = false;
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(app.picture, 0, 0);
  context.restore();
  drawCursor(context, view, height);
  return app.left;
}

// All but the cursor. Returns what it had to leave out.
function drawPicture(app, height) {
  const { view } = app, { context, width } = sizeCanvas(app.picture, height, view.width);
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, width, height);
  drawAxis(context, view, width, height);
  const left = { share: 1, marks: true };
  for (const [at, run] of app.runs.entries()) {
    const story = app.stories[at];
    context.save();
    drawBands(context, run, view);
    context.restore();
    drawLanes(context, run, view, Boolean(story));
    context.save();
    context.beginPath();
    context.rect(LABEL, 0, width - LABEL, height);
    context.clip();
    left.share = Math.max(left.share, drawArrows(context, run, view, story).share ?? 1);
    left.marks = drawMarks(context, run, view, story, app.matches[at]) && left.marks;
    if (story) drawPath(context, run, view, story);
    context.restore();
  }
  return left;
}

// The scrubber: how much happened when, who led, and what is shown.
function drawScrub(app) {
  const { context, width, height } = sizeCanvas(app.scrub, 34), { view } = app;
  context.fillStyle = colours.stripe;
  context.fillRect(0, 0, width, height);
  const run = app.runs[0];
  context.fillStyle = colours.quiet;
  context.fill(densityOf(run, width, height, view.length));
  for (const lane of run.stretches) for (const { start, end, role, term } of lane) {
    if (role !== "leader") continue;
    context.fillStyle = termColour(term);
    context.fillRect(start / view.length * width, height - 5, Math.max(1, (Math.min(end, view.length) - start) / view.length * width), 5);
  }
  context.fillStyle = colours.accent;
  context.globalAlpha = 0.2;
  context.fillRect(view.from / view.length * width, 0, Math.max(2, (view.to - view.from) / view.length * width), height);
  context.globalAlpha = 1;
  context.fillRect(view.cursor / view.length * width - 1, 0, 2, height);
}

function densityOf(run, width, height, length) {
  const columns = Math.max(1, Math.round(width));
  if (run.density?.columns === columns) return run.density.path;
  const counts = new Float64Array(columns);
  for (const time of run.t) counts[Math.min(columns - 1, Math.floor(time / length * columns))]++;
  const most = counts.reduce((a, b) => Math.max(a, b), 1), path = new Path2D();
  counts.forEach((count, x) => { if (count) path.rect(x, height - 6 - 22 * count / most, 1, 22 * count / most); });
  run.density = { columns, path };
  return path;
}
