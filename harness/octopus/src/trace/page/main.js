// Puts it together: data in, a picture and texts out, at most once a frame.

// Texts follow the cursor no oftener than this, milliseconds.
const TEXTS_EVERY = 80;
// The address is brought up to date when nothing has changed for so long, milliseconds.
const ADDRESS_AFTER = 300;

function makeApp(runs) {
  const length = Math.max(1, ...runs.map(run => run.length));
  const app = {
    runs, view: makeView(length), map: byId("map"), scrub: byId("scrub"), off: new Set(), hidden: new Set(), marks: [],
    matches: runs.map(() => undefined), stories: runs.map(() => undefined), request: "", playing: false, texts: 0, dirty: true, stale: true, textsDue: true,
    picture: document.createElement("canvas"),
  };
  let saving;
  app.changed = what => {
    app.dirty = true;
    if (what !== "cursor") app.stale = true;
    if (what !== "view") app.textsDue = true;
    clearTimeout(saving);
    saving = setTimeout(toAddress, ADDRESS_AFTER, app);
    if (!app.asked) app.asked = requestAnimationFrame(now => frame(app, now));
  };
  return app;
}

function frame(app, now) {
  app.asked = 0;
  advance(app, now);
  if (app.dirty) drawAll(app);
  app.dirty = false;
  if (app.textsDue && now - app.texts >= TEXTS_EVERY) {
    app.texts = now;
    app.textsDue = false;
    showState(app);
    showLinks(app);
    showEvents(app);
  }
  if ((app.textsDue || app.playing) && !app.asked) app.asked = requestAnimationFrame(then => frame(app, then));
}

function drawAll(app) {
  const left = drawMap(app);
  drawScrub(app);
  const { view } = app, unit = unitOf(view.length);
  byId("now").textContent = `${(view.cursor / unit[0]).toFixed(6).replace(/0{1,3}$/, "")} ${unit[1]}; ${timeWords(view.to - view.from)} are shown`;
  app.scrub.setAttribute("aria-valuemax", Math.round(view.length));
  app.scrub.setAttribute("aria-valuenow", Math.round(view.cursor));
  app.scrub.setAttribute("aria-valuetext", timeWords(view.cursor));
  const parts = [];
  if (left.share > 1) parts.push(`one message of ${left.share} is drawn, and all of the seldom types`);
  if (!left.marks) parts.push("marks on the lanes are left out");
  byId("detail").textContent = parts.length ? `At this distance ${parts.join("; ")}. Come closer to see all.` : "Everything is drawn.";
}

function describe(app, data) {
  const [first] = app.runs, title = first.header.title ?? first.name;
  document.title = byId("title").textContent = app.runs.length > 1 ? app.runs.map(run => run.name).join(" above ") : title;
  byId("about").textContent = app.runs.map(run => {
    const parts = [`${run.events} events of ${run.nodes.length} nodes in ${timeWords(run.length)}`, run.header.program, run.header.replay && `again: ${run.header.replay}`];
    return parts.filter(Boolean).join(" · ");
  }).join(" — ");
  const remarks = app.runs.flatMap(run => run.remarks);
  if (data.left_out) remarks.unshift(`The page would be too large, so it leaves out: ${data.left_out}.`);
  byId("remarks").textContent = remarks.join(" ");
  byId("remarks").hidden = !remarks.length;
  byId("kinds").replaceChildren(...Object.entries(first.kinds).flatMap(([kind, meaning]) => [element("dt", {}, kind), element("dd", {}, meaning)]));
  byId("requests").replaceChildren(...first.requests.slice(0, 1000).map(name => element("option", { value: name })));
}

function listen(app) {
  listenToKeys(app);
  listenToPointers(app);
  listenToScrubber(app);
  const onClick = (id, action) => byId(id).addEventListener("click", action);
  onClick("play", () => play(app, !app.playing));
  onClick("before", () => step(app, false));
  onClick("after", () => step(app, true));
  onClick("in", () => zoom(app, 0.5, app.view.cursor));
  onClick("out", () => zoom(app, 2, app.view.cursor));
  onClick("all", () => show(app, 0, app.view.length));
  onClick("previous", () => nextMatch(app, false));
  onClick("next", () => nextMatch(app, true));
  onClick("forget", () => tellStory(app, ""));
  byId("search").addEventListener("change", event => { find(app, event.target.value); nextMatch(app, true); });
  byId("request").addEventListener("change", event => tellStory(app, event.target.value.trim()));
  for (const id of ["term-low", "term-high"]) byId(id).addEventListener("change", () => refilter(app));
  byId("mark").addEventListener("submit", event => { event.preventDefault(); addMark(app, byId("note").value); byId("note").value = ""; });
  addEventListener("resize", () => app.changed("size"));
  addEventListener("hashchange", () => fromAddress(app));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); showToggles(app); app.changed("colours"); });
}

async function main() {
  const begun = performance.now(), data = await unpack(byId("data").textContent);
  const runs = data.runs.map(prepare), names = [...new Set(runs.flatMap(run => run.types.map(type => type.name)))];
  for (const run of runs) {
    // The same type has the same colour in both runs.
    run.typeRank = new Map(run.types.map(({ type, name }) => [type, names.indexOf(name)]));
    foldAll(run);
    run.faults = faultsOf(run);
  }
  readColours();
  const app = window.app = makeApp(runs);
  describe(app, data);
  showToggles(app);
  refilter(app);
  listen(app);
  fromAddress(app);
  drawAll(app);
  performance.mark("drawn");
  // Says that the script has come so far, and how long it took.
  document.documentElement.dataset.ready = Math.round(performance.now() - begun);
}

main().catch(error => {
  byId("title").textContent = "The trace cannot be drawn";
  byId("about").textContent = `${error}. A browser of 2023 or later is needed.`;
  throw error;
});
