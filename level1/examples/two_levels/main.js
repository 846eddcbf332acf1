// Puts it together: data in, a picture and texts out, at most once a frame.

// Texts follow the cursor no oftener than this, milliseconds.
const TEXTS_EVERY = 120;
const data = JSON.parse(byId("data").textContent);

function makeApp() {
  const app = { map: byId("map"), scrub: byId("scrub"), steps: prepare(), step: 0, playing: false, texts: -TEXTS_EVERY };
  app.changed = () => { app.asked ||= requestAnimationFrame(now => frame(app, now)); };
  return app;
}

function frame(app, now) {
  app.asked = 0;
  if (app.playing) {
    const passed = app.playedAt === undefined ? 0 : (now - app.playedAt) / 1000 * Number(byId("speed").value);
    app.playedAt = now;
    app.step = Math.min(app.steps, app.step + passed);
    if (app.step >= app.steps) play(app, false);
  }
  const piece = data.pieces[pieceAt(app.step)];
  draw(app);
  drawScrub(app);
  showControls(app, piece);
  if (now - app.texts >= TEXTS_EVERY) {
    app.texts = now;
    app.behind = false;
    showSays(app, piece);
    showRound(app, piece);
    showCost(app);
    showIds(app);
    if (!app.playing) history.replaceState(null, "", `#s=${Math.floor(app.step)}`);
  } else app.behind = true;
  if (app.playing || app.behind) app.changed();
}

function play(app, on) {
  if (on && app.step >= app.steps) app.step = 0;
  app.playing = on;
  app.playedAt = undefined;
  byId("play").textContent = on ? "❚❚ pause" : "▶ play";
  byId("play").setAttribute("aria-pressed", on);
  app.changed();
}

function moveTo(app, step) {
  app.step = Math.min(Math.max(0, step), app.steps);
  app.changed();
}

const stepBy = (app, by) => moveTo(app, Math.floor(app.step) + by);

// To where the next piece begins, or this one, or the one before.
function jump(app, forward) {
  const starts = [...data.pieces.map(({ from }) => from), app.steps], here = Math.floor(app.step);
  moveTo(app, forward ? starts.find(start => start > here) ?? app.steps : starts.findLast(start => start < here) ?? 0);
}

const KEYS = {
  " ": app => play(app, !app.playing),
  ArrowLeft: (app, event) => event.shiftKey ? jump(app, false) : stepBy(app, -1),
  ArrowRight: (app, event) => event.shiftKey ? jump(app, true) : stepBy(app, 1),
  Home: app => moveTo(app, 0),
  End: app => moveTo(app, app.steps),
};

function listen(app) {
  addEventListener("keydown", event => {
    const action = KEYS[event.key];
    if (!action || event.target.closest("select, button, summary, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action(app, event);
  });
  const put = event => { if (event.buttons) moveTo(app, event.offsetX / app.scrub.clientWidth * app.steps); };
  app.scrub.addEventListener("pointerdown", event => { app.scrub.setPointerCapture(event.pointerId); put(event); });
  app.scrub.addEventListener("pointermove", put);
  const onClick = (id, action) => byId(id).addEventListener("click", action);
  onClick("play", () => play(app, !app.playing));
  onClick("before", () => stepBy(app, -1));
  onClick("after", () => stepBy(app, 1));
  onClick("piece-before", () => jump(app, false));
  onClick("piece-after", () => jump(app, true));
  addEventListener("resize", app.changed);
  addEventListener("hashchange", () => fromAddress(app));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); app.changed(); });
}

// The cursor is in the page's address.
function fromAddress(app) {
  moveTo(app, Number(new URLSearchParams(location.hash.slice(1)).get("s") ?? 0) || 0);
}

function main() {
  readColours();
  showKey();
  const app = makeApp();
  listen(app);
  fromAddress(app);
  document.documentElement.dataset.ready = "yes";
}

main();
