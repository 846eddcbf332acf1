"use strict";
// The runs as the scripts use them: columns in typed arrays, and indexes over them. Times are
// nanoseconds from the beginning of the run.

// The text inside the page to an object: Base64, gzip, JSON.
async function unpack(text) {
  const binary = atob(text.trim()), bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// A column in which 0 stands for none: -1 is none then.
const lessOne = (list, Type) => Type.from(list, value => value - 1);

function prepare(raw) {
  const count = raw.t.length, t = new Float64Array(count), pair = new Int32Array(count);
  for (let at = 0, time = 0; at < count; at++) {
    t[at] = time += raw.t[at];
    pair[at] = raw.pair[at] ? at - raw.pair[at] : -1;
  }
  const run = {
    ...raw, count, t, pair, kind: Uint16Array.from(raw.kind), node: lessOne(raw.node, Int16Array),
    peer: lessOne(raw.peer, Int16Array), message: lessOne(raw.message, Int32Array), term: lessOne(raw.term, Float64Array),
    index: lessOne(raw.index, Float64Array), commit: lessOne(raw.commit, Float64Array), more: new Map(raw.more),
  };
  run.word = Object.fromEntries(raw.words.map((word, number) => [word, number]));
  run.lanes = lanesOf(run);
  run.requestEvents = requestsOf(run);
  run.types = typesOf(run);
  return run;
}

const NONE = Object.freeze({});
const moreOf = (run, event) => run.more.get(event) ?? NONE;
const kindOf = (run, event) => run.words[run.kind[event]];
const typeOf = (run, event) => run.message[event] < 0 ? "" : run.words[run.message[event]];
const nodeOf = (run, event) => run.node[event] < 0 ? "" : run.nodes[run.node[event]];

// The events of each node, in their order.
function lanesOf(run) {
  const lanes = run.nodes.map(() => []);
  for (let event = 0; event < run.count; event++) if (run.node[event] >= 0) lanes[run.node[event]].push(event);
  return lanes.map(lane => Int32Array.from(lane));
}

// The events that name each request, itself or in an entry.
function requestsOf(run) {
  const events = run.requests.map(() => []);
  for (const [event, more] of run.more) {
    const named = new Set(more.requests);
    for (const [, , requests] of more.entries ?? []) for (const request of requests) named.add(request);
    for (const request of named) events[request].push(event);
  }
  return events;
}

// The types of messages by how often they were sent, the commonest first.
function typesOf(run) {
  const counts = new Map(), send = run.word.send;
  for (let event = 0; event < run.count; event++) {
    if (run.kind[event] === send) counts.set(run.message[event], (counts.get(run.message[event]) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([type, count]) => ({ type, count, name: type < 0 ? "message" : run.words[type] }));
}

// The first place in a sorted list whose value is above (`after`) or not below a time.
function search(times, time, after) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = low + high >> 1;
    if (after ? times[middle] <= time : times[middle] < time) low = middle + 1; else high = middle;
  }
  return low;
}

// A length of time in words of a fitting unit.
function timeWords(ns, unit) {
  const [factor, name] = unit ?? unitOf(Math.abs(ns));
  return `${+(ns / factor).toFixed(factor === 1 ? 0 : 3)} ${name}`;
}
function unitOf(ns) {
  if (ns >= 1e9) return [1e9, "s"];
  if (ns >= 1e6) return [1e6, "ms"];
  return ns >= 1e3 ? [1e3, "µs"] : [1, "ns"];
}
