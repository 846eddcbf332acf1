// The same in words: a table at the cursor, the scene, the state of the controls.

// At the story's very end the last scene goes on.
function sceneAt(time) {
  let found = 0;
  data.scenes.forEach(({ at }, nth) => { if (at <= time) found = nth; });
  return found;
}

const milliseconds = time => `${(time / 1000).toFixed(0)} ms`;

function showTable(app) {
  const counts = countsAt(app.run, app.time);
  byId("table").tBodies[0].replaceChildren(...counts.map((count, client) => {
    const wait = count.waits.length ? milliseconds(count.waits[count.waits.length >> 1]) : "–";
    const numbers = [shown(count.asked), shown(count.answered), shown(count.refused), wait, count.waiting];
    const head = element("th", { scope: "row", style: `--own: var(--c${client})` }, data.clients[client]);
    return element("tr", {}, head, ...numbers.map(number => element("td", { class: "number" }, String(number))));
  }));
  const level = fairLevel(counts.map(count => count.asked));
  byId("level").textContent = level === undefined
    ? "All that is asked for can be answered: there is no fair level."
    : `The fair level is ${shown(level)} requests a second: whoever asks for less should get all of it, the others that much each.`;
}

function showScene(app) {
  const scene = sceneAt(app.time), { title, says } = data.scenes[scene], text = `${scene + 1}. ${title}. ${says[app.runAt]}`;
  // Said once, and not at each frame.
  if (byId("says").textContent !== text) byId("says").textContent = text;
  [...byId("scenes").children].forEach((button, nth) => {
    if (nth === scene) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  });
}

function showControls(app) {
  byId("now").textContent = `${(app.time / SECOND).toFixed(3)} s of ${data.end / SECOND}`;
  app.scrub.setAttribute("aria-valuemax", data.end / 1000);
  app.scrub.setAttribute("aria-valuenow", Math.round(app.time / 1000));
  app.scrub.setAttribute("aria-valuetext", `${(app.time / SECOND).toFixed(2)} seconds`);
  [...byId("runs").querySelectorAll("input")].forEach((input, nth) => { input.checked = nth === app.runAt; });
}
