// Messages as arrows, in levels of detail: each level has a quarter of the one before, and all of
// the seldom ones.

// Arrows in a picture; more are thinned out.
const ARROWS = 2500;
// Arrows whose latest end is kept together.
const BLOCK = 128;
// A type that was sent no oftener is on all levels.
const SELDOM = 400;

// The arrows of a run that a filter lets through. A message that was delivered twice has two.
function arrowsOf(run, passes) {
  const deliver = run.word.deliver, drop = run.word.drop, send = run.word.send;
  const ends = new Set(), list = [];
  for (let event = 0; event < run.count; event++) {
    const kind = run.kind[event];
    if (kind !== deliver && kind !== drop || run.pair[event] < 0) continue;
    ends.add(run.pair[event]);
    if (passes(run.pair[event])) list.push([run.pair[event], event, kind === drop]);
  }
  for (let event = 0; event < run.count; event++) {
    if (run.kind[event] === send && !ends.has(event) && passes(event)) list.push([event, -1, false]);
  }
  list.sort((a, b) => a[0] - b[0]);
  return list;
}

function column(list, at, Type) {
  return Type.from(list, arrow => arrow[at]);
}

// A level: columns, and the latest end of each block.
function levelOf(run, list) {
  const level = { count: list.length, sent: column(list, 0, Int32Array), ended: column(list, 1, Int32Array), lost: column(list, 2, Uint8Array) };
  level.start = Float64Array.from(list, arrow => run.t[arrow[0]]);
  level.end = Float64Array.from(list, arrow => run.t[arrow[1] < 0 ? arrow[0] : arrow[1]]);
  level.latest = new Float64Array(Math.ceil(list.length / BLOCK)).fill(-1);
  level.end.forEach((end, at) => { const block = Math.floor(at / BLOCK); level.latest[block] = Math.max(level.latest[block], end); });
  return level;
}

// Builds all levels of what the filter lets through.
function buildArrows(run, passes) {
  let list = arrowsOf(run, passes);
  const seldom = new Set(run.types.filter(type => type.count <= SELDOM).map(type => type.type));
  run.levels = [levelOf(run, list)];
  for (let share = 4; list.length > ARROWS && share <= 4 ** 8; share *= 4) {
    let nth = 0;
    const fewer = list.filter(arrow => seldom.has(run.message[arrow[0]]) || nth++ % 4 === 0);
    if (fewer.length === list.length) break;
    run.levels.push(Object.assign(levelOf(run, fewer), { share }));
    list = fewer;
  }
}

// Calls `visit` for each arrow of a level that is under way between two times; stops at `most`.
function visitArrows(level, from, to, most, visit) {
  const last = search(level.start, to, true);
  let count = 0;
  for (let block = 0; block * BLOCK < last; block++) {
    if (level.latest[block] < from) continue;
    const end = Math.min((block + 1) * BLOCK, last);
    for (let at = block * BLOCK; at < end; at++) {
      if (level.end[at] < from) continue;
      if (++count > most) return count;
      visit(at);
    }
  }
  return count;
}

// The finest level that has not too many arrows between two times.
function levelFor(run, from, to) {
  return run.levels.find(level => visitArrows(level, from, to, ARROWS, () => {}) <= ARROWS) ?? run.levels.at(-1);
}
