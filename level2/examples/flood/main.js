// Puts it together: data in, a picture and texts out, at most once a frame.

// Texts follow the cursor no oftener than this, milliseconds.
const TEXTS_EVERY = 120;
const data = JSON.parse(byId("data").textContent);

function makeApp() {
  const app = { map: byId("map"), scrub: byId("scrub"), runAt: 0, time: 0, playing: false, texts: -TEXTS_EVERY };
  app.changed = () => { app.asked ||= requestAnimationFrame(now => frame(app, now)); };
  return app;
}

function frame(app, now) {
  app.asked = 0;
  if (app.playing) {
    const passed = app.playedAt === undefined ? 0 : (now - app.playedAt) * 1000 * Number(byId("speed").value);
    app.playedAt = now;
    app.time = Math.min(data.end, app.time + passed);
    if (app.time >= data.end) play(app, false);
  }
  app.run = data.runs[app.runAt];
  draw(app);
  drawScrub(app);
  showControls(app);
  if (now - app.texts >= TEXTS_EVERY) {
    app.texts = now;
    app.behind = false;
    showTable(app);
    showScene(app);
    if (!app.playing) history.replaceState(null, "", `#t=${Math.round(app.time / 1000)}&q=${app.run.name}`);
  } else app.behind = true;
  if (app.playing || app.behind) app.changed();
}

function play(app, on) {
  if (on && app.time >= data.end) app.time = 0;
  app.playing = on;
  app.playedAt = undefined;
  byId("play").textContent = on ? "❚❚ pause" : "▶ play";
  byId("play").setAttribute("aria-pressed", on);
  app.changed();
}

function moveTo(app, time) {
  app.time = Math.min(Math.max(0, time), data.end);
  app.changed();
}

function choose(app, run) {
  app.runAt = run;
  app.changed();
}

// To the next moment at which a request was decided, or to the one before.
function step(app, forward) {
  const { decisions } = data.runs[app.runAt], at = forward ? search(decisions, app.time + 1) : search(decisions, app.time) - 1;
  if (decisions[at] !== undefined) moveTo(app, decisions[at]);
}

const KEYS = {
  " ": app => play(app, !app.playing),
  ArrowLeft: (app, event) => event.shiftKey ? moveTo(app, app.time - SECOND / 10) : step(app, false),
  ArrowRight: (app, event) => event.shiftKey ? moveTo(app, app.time + SECOND / 10) : step(app, true),
  Home: app => moveTo(app, 0),
  End: app => moveTo(app, data.end),
  f: app => choose(app, 1 - app.runAt),
};

function listen(app) {
  addEventListener("keydown", event => {
    if (event.target.closest("select, button, summary, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const scene = data.scenes[Number(event.key) - 1], action = scene ? () => moveTo(app, scene.at) : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action(app, event);
  });
  const put = event => { if (event.buttons) moveTo(app, event.offsetX / app.scrub.clientWidth * data.end); };
  app.scrub.addEventListener("pointerdown", event => { app.scrub.setPointerCapture(event.pointerId); put(event); });
  app.scrub.addEventListener("pointermove", put);
  byId("play").addEventListener("click", () => play(app, !app.playing));
  byId("before").addEventListener("click", () => step(app, false));
  byId("after").addEventListener("click", () => step(app, true));
  addEventListener("resize", app.changed);
  addEventListener("hashchange", () => fromAddress(app));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); app.changed(); });
}

// The cursor and the queue are in the page's address: whoever opens it sees the same.
function fromAddress(app) {
  const said = new URLSearchParams(location.hash.slice(1)), run = data.runs.findIndex(({ name }) => name === said.get("q"));
  if (run >= 0) app.runAt = run;
  moveTo(app, Number(said.get("t") ?? 0) * 1000 || 0);
}

function main() {
  data.runs.forEach(prepare);
  readColours();
  const app = makeApp();
  byId("runs").append(...data.runs.map(({ title }, nth) => {
    const input = element("input", { type: "radio", name: "run" });
    input.addEventListener("change", () => choose(app, nth));
    return element("label", {}, input, title);
  }));
  byId("scenes").append(...data.scenes.map(({ at, title }, nth) => {
    const button = element("button", {}, `${nth + 1} ${title}`);
    button.addEventListener("click", () => moveTo(app, at));
    return button;
  }));
  listen(app);
  fromAddress(app);
  document.documentElement.dataset.ready = "yes";
}

main();
