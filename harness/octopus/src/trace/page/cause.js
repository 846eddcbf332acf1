// What lies causally between a request's invocation and its answer, and the path that took the time.

// Where a request begins and ends: its invocation, and the first answer to it.
function endsOf(run, request) {
  const events = run.requestEvents[request];
  const isClient = event => kindOf(run, event) === "client";
  const invoke = events.find(event => isClient(event) && moreOf(run, event).what === "invoke") ?? events[0];
  const answer = events.find(event => isClient(event) && event > invoke && moreOf(run, event).what !== "invoke");
  const outcome = answer === undefined ? undefined : moreOf(run, answer).what;
  return { invoke, answer: answer ?? events.at(-1), outcome };
}

// The events that can have heard of `invoke` and can have been heard of at `answer`: Lamport's order,
// by lanes and messages.
function coneOf(run, invoke, answer) {
  const size = Math.max(0, answer - invoke + 1), after = new Uint8Array(size), lit = new Uint8Array(size);
  const known = new Uint8Array(run.nodes.length);
  for (let at = 0; at < size; at++) {
    const event = invoke + at, node = run.node[event], sent = run.pair[event];
    const heard = at === 0 || node >= 0 && known[node] || sent >= invoke && after[sent - invoke];
    if (!heard) continue;
    after[at] = 1;
    if (node >= 0 && kindOf(run, event) !== "drop") known[node] = 1;
  }
  const wanted = new Uint8Array(run.nodes.length);
  for (let at = size - 1; at >= 0; at--) {
    const event = invoke + at, node = run.node[event], sent = run.pair[event];
    if (!(at === size - 1 || lit[at] || node >= 0 && wanted[node])) continue;
    if (kindOf(run, event) === "drop") continue;
    lit[at] = 1;
    if (node >= 0) wanted[node] = 1;
    if (sent >= invoke) lit[sent - invoke] = 1;
  }
  for (let at = 0; at < size; at++) lit[at] &= after[at];
  return { invoke, answer, lit, has: event => event >= invoke && event <= answer && lit[event - invoke] === 1 };
}

// Its place in the log, as the nodes have it that the answer depends on; -1: none.
function placeOf(run, request, cone) {
  for (const event of run.requestEvents[request]) {
    if (!cone.has(event)) continue;
    for (const [index, , requests] of moreOf(run, event).entries ?? []) if (requests.includes(request)) return index;
  }
  return -1;
}

// The events of a cone that are about a request: that name it, or are the first of their kind on
// their node to reach its place in the log.
function aboutOf(run, request, cone, place) {
  const about = new Set(run.requestEvents[request].filter(cone.has)), reached = new Set();
  if (place < 0) return about;
  for (let event = cone.invoke; event <= cone.answer; event++) {
    const kind = kindOf(run, event);
    if (!cone.has(event)) continue;
    const isMessage = kind === "send" || kind === "deliver";
    const reaches = run.index[event] >= place || isMessage && run.commit[event] >= place;
    if (!reaches || !isMessage && !["persist", "commit", "apply", "snapshot"].includes(kind)) continue;
    const once = `${kind} ${run.node[event]} ${isMessage ? `${run.peer[event]} ${run.message[event]} ${run.commit[event] >= place}` : ""}`;
    if (!reached.has(once)) about.add(event);
    reached.add(once);
  }
  return about;
}

// What an event of a kind waits for on its own node, what is most likely first.
const WAITS_FOR = {
  client: [["apply"], ["deliver"]], apply: [["commit"], ["deliver", "persist"]], commit: [["deliver", "persist"]],
  persist: [["append"], ["deliver"]], append: [["deliver", "client"]],
  send: [["append", "persist", "deliver", "client", "commit"]],
};
const COST = { deliver: "network", drop: "network", persist: "disk", apply: "applying" };

function causeOnNode(run, about, event) {
  const lane = run.lanes[run.node[event]] ?? [], kind = kindOf(run, event);
  const end = search(lane, event, false);
  for (const kinds of WAITS_FOR[kind] ?? []) {
    for (let at = end - 1; at >= 0; at--) if (about.has(lane[at]) && kinds.includes(kindOf(run, lane[at]))) return lane[at];
  }
  for (let at = end - 1; at >= 0; at--) if (about.has(lane[at])) return lane[at];
  return undefined;
}

// From the answer back: each step to what it waited for last.
function criticalPath(run, cone, about) {
  const steps = [];
  let event = cone.answer;
  while (event !== cone.invoke && steps.length < 1000) {
    const kind = kindOf(run, event), sent = run.pair[event];
    let cause = kind === "deliver" && sent >= cone.invoke ? sent : causeOnNode(run, about, event);
    if (cause === undefined || cause < cone.invoke) cause = cone.invoke;
    const cost = cause === sent ? "network" : kind === "deliver" ? "waiting" : COST[kind] ?? "waiting";
    steps.push({ from: cause, to: event, ns: run.t[event] - run.t[cause], cost });
    event = cause;
  }
  return steps.reverse();
}

// All that is to be shown of a request.
function explain(run, request) {
  const { invoke, answer, outcome } = endsOf(run, request);
  const cone = coneOf(run, invoke, answer), place = placeOf(run, request, cone);
  const about = aboutOf(run, request, cone, place), path = criticalPath(run, cone, about);
  const costs = { network: 0, disk: 0, waiting: 0, applying: 0 };
  for (const step of path) costs[step.cost] += step.ns;
  return { request, invoke, answer, outcome, cone, place, about, path, costs };
}
