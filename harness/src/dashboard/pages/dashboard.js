// Keeps the run on its page current: replaces what the server sends anew.
"use strict";

const part = document.getElementById("run");
if (part) {
  const events = new EventSource("/live/events");
  events.addEventListener("run", (event) => {
    const log = part.querySelector("pre.log");
    const atEnd = !log || log.scrollTop + log.clientHeight > log.scrollHeight - 20;
    const above = log ? log.scrollTop : 0;
    part.innerHTML = event.data;
    const fresh = part.querySelector("pre.log");
    if (fresh) fresh.scrollTop = atEnd ? fresh.scrollHeight : above;
  });
  const link = document.getElementById("link");
  events.onopen = () => { link.textContent = ""; };
  events.onerror = () => { link.textContent = "The dashboard does not answer; this is how it was."; };
}
