// The requests, and what can be said of them at a moment.

const SECOND = 1e6;
const byId = id => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The first of a sorted column that is not before a time.
function search(column, time) {
  let low = 0, high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < time) low = middle + 1; else high = middle;
  }
  return low;
}

// Sorts out what is asked for again and again.
function prepare(run) {
  const { came, decided, place, worked } = run.requests, all = came.map((_, at) => at);
  run.count = came.length;
  // By their numbers, in the order in which they were decided.
  run.byDecision = all.filter(at => decided[at] >= 0).sort((a, b) => decided[a] - decided[b]);
  run.decisions = run.byDecision.map(at => decided[at]);
  run.longestWait = Math.max(...all.map(at => decided[at] - came[at]));
  run.longestWork = Math.max(...all.filter(at => place[at] >= 0).map(at => worked[at] - decided[at]));
}

// What waits at a moment, who goes next first.
function waitingAt(run, time) {
  const { came, decided } = run.requests, list = [];
  for (let at = search(came, time - run.longestWait); at < run.count && came[at] <= time; at++) if (decided[at] > time) list.push(at);
  return list.sort((a, b) => decided[a] - decided[b]);
}

// Which request has each place.
function workingAt(run, time) {
  const { place, worked } = run.requests, places = [-1, -1, -1, -1];
  for (let at = search(run.decisions, time - run.longestWork); at < run.count && run.decisions[at] <= time; at++) {
    const request = run.byDecision[at];
    if (place[request] >= 0 && worked[request] > time) places[place[request]] = request;
  }
  return places;
}

// What each client asked for and got in the second before a moment. Answers count when they are done.
function countsAt(run, time) {
  const { client, came, decided, place, worked } = run.requests;
  const counts = data.clients.map(() => ({ asked: 0, answered: 0, refused: 0, waits: [], waiting: 0 }));
  for (let at = search(came, time - SECOND - run.longestWait - run.longestWork); at < run.count && came[at] <= time; at++) {
    const count = counts[client[at]], within = moment => moment > time - SECOND && moment <= time;
    if (within(came[at])) count.asked++;
    if (decided[at] > time) count.waiting++;
    else if (place[at] < 0) count.refused += within(decided[at]);
    else {
      count.answered += within(worked[at]);
      if (within(decided[at])) count.waits.push(decided[at] - came[at]);
    }
  }
  // Of the story's first second only a part has passed.
  const scale = SECOND / Math.max(1, Math.min(SECOND, time));
  for (const count of counts) {
    count.waits.sort((a, b) => a - b);
    for (const key of ["asked", "answered", "refused"]) count[key] *= Math.max(1, Math.min(scale, 4));
  }
  return counts;
}

// The level up to which every demand is met (water filling); undefined if all of them are.
function fairLevel(demands) {
  let left = data.capacity, rest = [...demands].sort((a, b) => a - b);
  if (rest.reduce((sum, demand) => sum + demand, 0) <= left) return undefined;
  while (rest.length && rest[0] <= left / rest.length) left -= rest.shift();
  return left / rest.length;
}

// Answers by client in each tenth of a second, a second.
function answersOverTime(run) {
  const bins = Math.ceil(data.end / SECOND * 10), { client, place, worked } = run.requests;
  const table = data.clients.map(() => new Float64Array(bins));
  for (let at = 0; at < run.count; at++) {
    const bin = Math.floor(worked[at] / SECOND * 10);
    if (place[at] >= 0 && bin < bins) table[client[at]][bin] += 10;
  }
  // A place works for 75 ms: smoothed over half a second.
  return table.map(row => row.map((_, bin) => {
    const near = row.slice(Math.max(0, bin - 2), bin + 3);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  }));
}
