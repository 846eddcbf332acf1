// Keeps the scoreboard current: counts down, and replaces what the server sends anew.
"use strict";

// How far this machine's clock is from the server's, in seconds.
const offset = Number(document.body.dataset.now) - Date.now() / 1000;
const link = document.getElementById("link");
const parts = ["live", "history"].map((id) => document.getElementById(id)).filter(Boolean);

const pad = (number) => String(number).padStart(2, "0");
function clock(seconds) {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

function tick() {
  const now = Date.now() / 1000 + offset;
  for (const element of document.querySelectorAll("[data-until]")) {
    element.textContent = clock(Math.max(0, Math.ceil(element.dataset.until - now)));
  }
  for (const element of document.querySelectorAll("[data-at]")) {
    const ago = Math.max(0, Math.floor(now - element.dataset.at));
    element.title = `${clock(ago)} ago, at ${new Date(element.dataset.at * 1000).toLocaleTimeString()}`;
  }
}

function replace(id, html) {
  const part = document.getElementById(id);
  if (part && part.innerHTML !== html) {
    part.innerHTML = html;
    tick();
  }
}

// For when there is no room for one more stream: the whole page again, now and then.
function poll() {
  setTimeout(async () => {
    try {
      const answer = await fetch(location.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const { id } of parts) {
        const fresh = page.getElementById(id);
        if (fresh) replace(id, fresh.innerHTML);
      }
      link.textContent = "";
    } catch {
      link.textContent = "The server does not answer; this is how it was.";
    }
    poll();
  }, 5000);
}

tick();
setInterval(tick, 1000);
if (parts.length > 0) {
  const events = new EventSource("/events");
  for (const { id } of parts) {
    events.addEventListener(id, (event) => replace(id, event.data));
  }
  events.onopen = () => { link.textContent = ""; };
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) poll();
    else link.textContent = "The server does not answer; this is how it was.";
  };
}
