// What each node is and has at a time: events folded from the key frame before it.

// Events between two key frames.
const FRAME = 1024;
// Entries of a log that are kept to be shown.
const LOG = 40;

const blank = () => ({
  up: true, role: "", term: -1, vote: -1, voteTerm: -1, log: [], last: -1, commit: -1, applied: -1, snapshot: -1,
  disk: { index: -1, term: -1, vote: -1 }, queues: {},
});
const copyOf = state => ({ ...state, disk: { ...state.disk }, queues: { ...state.queues } });

// Lists of entries are never changed, so that frames can share them.
function takeEntries(state, entries) {
  if (!entries.length) return;
  const first = entries[0][0], kept = state.log.filter(entry => entry[0] < first);
  state.log = kept.concat(entries).slice(-LOG);
  state.last = entries.at(-1)[0];
  // What is replaced is on disk no more.
  state.disk.index = Math.min(state.disk.index, Math.max(first - 1, state.commit));
}

const FOLD = {
  become(state, run, event, more) {
    state.role = more.role ?? state.role;
    raiseTerm(state, run.term[event]);
  },
  vote(state, run, event, more) {
    raiseTerm(state, run.term[event]);
    [state.vote, state.voteTerm] = [more.for ?? -1, run.term[event]];
  },
  append(state, run, event, more) { takeEntries(state, more.entries ?? []); },
  persist(state, run, event, more) {
    const { disk } = state;
    if (run.index[event] >= 0) disk.index = run.index[event];
    if (run.term[event] >= 0) disk.term = run.term[event];
    if (more.for !== undefined) disk.vote = more.for;
  },
  commit(state, run, event) { state.commit = Math.max(state.commit, run.index[event]); },
  apply(state, run, event) { state.applied = Math.max(state.applied, run.index[event]); },
  snapshot(state, run, event, more) {
    state.snapshot = Math.max(state.snapshot, run.index[event]);
    if (more.what !== "restored") return;
    const index = run.index[event];
    state.log = state.log.filter(entry => entry[0] > index);
    [state.last, state.commit, state.applied] = [Math.max(state.last, index), Math.max(state.commit, index), Math.max(state.applied, index)];
  },
  crash(state) { Object.assign(state, { up: false, role: "", queues: {} }); },
  restart(state, run, event, more) {
    const disk = { index: run.index[event], term: run.term[event], vote: more.for ?? -1 };
    Object.assign(state, blank(), { disk, term: disk.term, vote: disk.vote, voteTerm: disk.term, last: disk.index, commit: run.commit[event] });
    state.log = (more.entries ?? []).slice(-LOG);
  },
};

function raiseTerm(state, term) {
  if (term > state.term) state.term = term;
}

// A node's state after one more of its events.
function fold(states, run, event) {
  const state = states[run.node[event]];
  if (!state) return;
  const more = moreOf(run, event);
  FOLD[kindOf(run, event)]?.(state, run, event, more);
  if (more.queues) Object.assign(state.queues, more.queues);
}

// Key frames, and the stretches of each lane in which role and term stay.
function foldAll(run) {
  const states = run.nodes.map(blank);
  run.frames = [];
  run.stretches = run.nodes.map(() => []);
  run.leaderChanges = [];
  for (let event = 0; event < run.count; event++) {
    if (event % FRAME === 0) run.frames.push(states.map(copyOf));
    fold(states, run, event);
    const node = run.node[event], state = states[node];
    if (state) stretch(run, node, state, run.t[event]);
  }
  for (const lane of run.stretches) if (lane.length) lane.at(-1).end = Infinity;
}

function stretch(run, node, { up, role, term }, time) {
  const lane = run.stretches[node], last = lane.at(-1);
  if (last && last.up === up && last.role === role && last.term === term) return;
  if (last) last.end = time;
  lane.push({ start: last ? time : 0, end: Infinity, up, role, term });
  if (role === "leader") run.leaderChanges.push(time);
}

// The states of all nodes after `count` events.
function statesAfter(run, count) {
  const frame = Math.min(Math.floor(count / FRAME), run.frames.length - 1);
  if (frame < 0) return run.nodes.map(blank);
  const states = run.frames[frame].map(copyOf);
  for (let event = frame * FRAME; event < count; event++) fold(states, run, event);
  return states;
}
const statesAt = (run, time) => statesAfter(run, search(run.t, time, true));

// Faults with their ends, and who is down how long.
function faultsOf(run) {
  const begun = new Map(), faults = [];
  for (let event = 0; event < run.count; event++) {
    if (kindOf(run, event) !== "fault") continue;
    const more = moreOf(run, event);
    if (run.pair[event] >= 0) {
      const fault = begun.get(run.pair[event]);
      if (fault) fault.end = run.t[event];
    } else if (more.what !== "end") {
      const nodes = more.nodes ?? [], links = more.links ?? [], isMoment = more.what !== "begin";
      const fault = { event, start: run.t[event], end: isMoment ? run.t[event] : Infinity, nodes, links, text: more.text ?? "fault" };
      begun.set(event, fault);
      faults.push(fault);
    }
  }
  return faults;
}
const faultsAt = (run, time) => run.faults.filter(fault => fault.start <= time && time < fault.end);
