// What part of time is shown, and where the cursor is: keys, pointers, playing.

// The shortest time that fills the window, nanoseconds.
const CLOSEST = 20_000;

function makeView(length) {
  return {
    length, from: 0, to: length, cursor: 0, width: 1000,
    x(time) { return LABEL + (time - this.from) / (this.to - this.from) * (this.width - LABEL - 6); },
    time(x) { return this.from + (x - LABEL) / (this.width - LABEL - 6) * (this.to - this.from); },
  };
}

// Shows the time between two moments, within the run.
function show(app, from, to) {
  const { view } = app, span = Math.min(view.length, Math.max(CLOSEST, to - from));
  const start = Math.min(Math.max(0, from + (to - from - span) / 2), view.length - span);
  [view.from, view.to] = [start, start + span];
  app.changed("view");
}

function zoom(app, factor, at) {
  const { view } = app;
  show(app, at - (at - view.from) * factor, at + (view.to - at) * factor);
}

function moveCursor(app, time, follows = true) {
  const { view } = app;
  view.cursor = Math.min(Math.max(0, time), view.length);
  const span = view.to - view.from;
  if (follows && (view.cursor < view.from || view.cursor > view.to)) show(app, view.cursor - span / 3, view.cursor + span * 2 / 3);
  app.changed("cursor");
}

// To the next time at which an event happened that can be seen, or to the one before.
function step(app, forward) {
  const { cursor } = app.view;
  let best;
  for (const run of app.runs) {
    let at = forward ? search(run.t, cursor, true) : search(run.t, cursor, false) - 1;
    while (at >= 0 && at < run.count && !isShown(app, run, at)) at += forward ? 1 : -1;
    const time = run.t[at];
    if (time !== undefined && (best === undefined || (forward ? time < best : time > best))) best = time;
  }
  if (best !== undefined) moveCursor(app, best);
}
const isShown = (app, run, event) => kindOf(run, event) !== "tick" && !app.hidden.has(nodeOf(run, event)) &&
  (run.message[event] < 0 || !app.off.has(typeOf(run, event)));

function nextLeader(app) {
  const times = app.runs.flatMap(run => run.leaderChanges).filter(time => time > app.view.cursor);
  if (times.length) moveCursor(app, Math.min(...times));
}

function play(app, on) {
  app.playing = on;
  app.playedAt = undefined;
  byId("play").textContent = on ? "❚❚ pause" : "▶ play";
  byId("play").setAttribute("aria-pressed", on);
  app.changed("play");
}

// A frame of playing.
function advance(app, now) {
  if (!app.playing) return;
  const passed = app.playedAt === undefined ? 0 : (now - app.playedAt) * 1e6 * Number(byId("speed").value);
  app.playedAt = now;
  moveCursor(app, app.view.cursor + passed);
  if (app.view.cursor >= app.view.length) play(app, false);
}

const KEYS = {
  ArrowLeft: (app, event) => event.shiftKey ? pan(app, -0.2) : step(app, false),
  ArrowRight: (app, event) => event.shiftKey ? pan(app, 0.2) : step(app, true),
  "+": app => zoom(app, 0.5, app.view.cursor), "=": app => zoom(app, 0.5, app.view.cursor), "-": app => zoom(app, 2, app.view.cursor),
  0: app => show(app, 0, app.view.length), " ": app => play(app, !app.playing), Home: app => moveCursor(app, 0),
  End: app => moveCursor(app, app.view.length), n: app => nextMatch(app, true), p: app => nextMatch(app, false), l: nextLeader,
  b: () => byId("note").focus(), "/": () => byId("search").focus(), Escape: app => { tellStory(app, ""); find(app, ""); },
};

function pan(app, share) {
  const { view } = app, by = (view.to - view.from) * share;
  show(app, view.from + by, view.to + by);
}

function listenToKeys(app) {
  addEventListener("keydown", event => {
    const typing = event.target.closest("input, select, button, summary") && event.key !== "Escape";
    const action = KEYS[event.key];
    if (typing || !action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action(app, event);
  });
}

// Drag moves, two fingers pinch, a click puts the cursor and perhaps picks a request.
function listenToPointers(app) {
  const canvas = app.map, fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event.offsetX);
    moved = 0;
  });
  canvas.addEventListener("pointermove", event => {
    if (!fingers.has(event.pointerId)) return;
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.offsetX);
    drag(app, before, [...fingers.values()]);
    moved += Math.abs(event.movementX) + fingers.size - 1;
  });
  const up = event => {
    const isClick = fingers.delete(event.pointerId) && moved < 4 && event.type === "pointerup";
    if (isClick) click(app, event.offsetX, event.offsetY);
  };
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, up);
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(app, (event.deltaX || event.deltaY) / 1000);
    else zoom(app, 1.0015 ** event.deltaY, app.view.time(event.offsetX));
  }, { passive: false });
}

function drag(app, before, after) {
  const { view } = app, scale = (view.to - view.from) / (view.width - LABEL - 6);
  if (after.length === 1) return show(app, view.from - (after[0] - before[0]) * scale, view.to - (after[0] - before[0]) * scale);
  const span = list => Math.max(20, Math.abs(list[0] - list[1])), middle = (after[0] + after[1]) / 2;
  zoom(app, span(before) / span(after), view.time(middle));
}

// The event nearest to a place in the picture: on a lane, or on an arrow's way.
function eventAt(app, x, y) {
  const { view } = app;
  let best, least = 8;
  const offer = (run, event, away) => { if (away < least) [best, least] = [{ run, event }, away]; };
  for (const run of app.runs) {
    const first = search(run.t, view.time(x - 8), false), end = search(run.t, view.time(x + 8), true);
    for (let event = first; event < Math.min(end, first + MARKS); event++) {
      const lane = run.laneY[run.node[event]];
      if (Math.abs(lane - y) < 16 && isShown(app, run, event)) offer(run, event, Math.abs(view.x(run.t[event]) - x) + 2);
    }
    const level = levelFor(run, view.from, view.to);
    visitArrows(level, view.from, view.to, ARROWS, at => {
      const sent = level.sent[at], y0 = run.laneY[run.node[sent]], y1 = run.laneY[run.peer[sent]], share = (y - y0) / (y1 - y0);
      if (!(share > 0 && share < 1)) return;
      offer(run, sent, Math.abs(view.x(level.start[at]) + share * (view.x(level.end[at]) - view.x(level.start[at])) - x) + 1);
    });
  }
  return best;
}

function click(app, x, y) {
  const hit = eventAt(app, x, y);
  if (!hit) return moveCursor(app, app.view.time(x), false);
  moveCursor(app, hit.run.t[hit.event], false);
  const more = moreOf(hit.run, hit.event);
  const request = more.requests?.[0] ?? more.entries?.flatMap(entry => entry[2])[0];
  if (request !== undefined) tellStory(app, hit.run.requests[request]);
}

function listenToScrubber(app) {
  const put = event => {
    if (event.buttons) moveCursor(app, event.offsetX / app.scrub.clientWidth * app.view.length);
  };
  app.scrub.addEventListener("pointerdown", event => { app.scrub.setPointerCapture(event.pointerId); put(event); });
  app.scrub.addEventListener("pointermove", put);
}
