// A search as it is typed: the newest query counts, older ones are given up. Old results stay,
// faded, until the first new ones are there; a failure takes them away, for they are no answer.
import * as api from "./api.js";
import { sameSearch } from "./address.js";
import { byId, count } from "./dom.js";
import { showFacets } from "./facets.js";
import { hint } from "./hint.js";
import { showProblem } from "./problem.js";
import { Results } from "./results.js";
import { listRoots } from "./roots.js";

// Hits of the first page, which should be there at once, and of those that follow.
const FIRST = 50;
const NEXT = 200;

// How long to wait after the first hits before all are counted and more are asked for, in
// milliseconds: whoever types on wants the next first hits, and these take what the server can do.
const REST = 300;

// How long old results look new, in milliseconds. They are rarely there for longer, and fading them
// at each key would have the browser paint them once more instead of the new ones.
const FRESH = 100;

export class Search {
  constructor() {
    this.results = new Results();
    this.summary = byId("summary");
    this.more = byId("more");
    this.controller = new AbortController();
    this.asked = null;
    this.answer = null;
    this.more.addEventListener("click", () => this.next());
    // Results go on before the end of the page is reached.
    this.observer = new IntersectionObserver(
      (seen) => { if (seen.some((entry) => entry.isIntersecting)) this.next(); },
      { rootMargin: "1000px" },
    );
  }

  // Shows the results of a search, which may be there already.
  show(asked) {
    this.ready = this.start(asked);
    return this.ready;
  }

  async start(asked) {
    if (this.asked && sameSearch(this.asked, asked) && this.answer) return;
    this.controller.abort();
    this.controller = new AbortController();
    const { signal } = this.controller;
    Object.assign(this, { asked, answer: null, counted: null, isBusy: false, isAtRest: false });
    showProblem(null);
    if (asked.query.trim() === "") return this.nothing();
    this.expect();
    const started = performance.now();
    try {
      // In the order of paths they are there at once; the best are known when all are.
      const answer = await api.search({ ...asked, sort: "path" }, { limit: FIRST }, signal);
      if (signal.aborted) return;
      this.answer = answer;
      this.order = "";
      this.took = performance.now() - started;
      // While all is laid out still: behind the change, the browser would have to do that first.
      window.scrollTo(0, 0);
      this.results.replace(answer.results, asked);
      this.settle();
      if (!answer.more) this.counted = answer;
      if (this.counted) showFacets(answer.facets, asked);
      this.report();
    } catch (error) {
      return this.fail(error, signal);
    }
    if (asked.sort === "best") await this.reorder(signal);
    this.goOn(signal);
  }

  // Asks for more and for totals, once nothing has been typed for a moment.
  async goOn(signal) {
    await new Promise((done) => setTimeout(done, REST));
    if (signal.aborted) return;
    this.isAtRest = true;
    this.lookForEnd();
    if (!this.counted) await this.count(signal);
  }

  // Brings the best hits to the front, and says so: what was read a moment ago may have moved.
  async reorder(signal) {
    const { asked } = this;
    this.order = "looking for the best";
    this.isBusy = true;
    this.report();
    try {
      const answer = await api.search(asked, { limit: FIRST }, signal);
      if (signal.aborted) return;
      this.answer = answer;
      this.results.replace(answer.results, asked);
      this.results.announceOrder();
      this.order = "best first";
    } catch (error) {
      if (signal.aborted) return;
      // What is there stays there, as it is.
      this.answer.more = false;
      this.order = `by path, for the best cannot be found: ${error.message}`;
    } finally {
      if (!signal.aborted) this.isBusy = false;
    }
    this.report();
  }

  // Counts all hits, which takes longer than the first ones.
  async count(signal) {
    // Without counts, the hits are still right.
    const counted = await api.count(this.asked, signal).catch(() => null);
    if (signal.aborted || !counted) return;
    this.counted = counted;
    showFacets(counted.facets, this.asked);
    this.report();
  }

  // What is there is old from now on, and looks so if nothing takes its place soon.
  expect() {
    const old = [this.results.place, byId("facets")];
    for (const place of old) place.setAttribute("aria-busy", "true");
    clearTimeout(this.fading);
    this.fading = setTimeout(() => {
      for (const place of old) place.classList.toggle("old", place.getAttribute("aria-busy") === "true");
    }, FRESH);
  }

  // The results are those of the query.
  settle() {
    this.results.place.setAttribute("aria-busy", "false");
    this.results.place.classList.remove("old");
  }

  async nothing() {
    this.results.clear();
    this.settle();
    this.more.hidden = true;
    showFacets(null, this.asked);
    this.say("Type to search. Press ? for keys and the query language.");
    const { asked } = this;
    const roots = await listRoots();
    // Meanwhile something may have been typed.
    if (this.asked === asked) this.results.place.replaceChildren(roots);
  }

  // Gets the next page, unless one is on its way.
  async next() {
    const { answer, asked } = this;
    if (!answer?.more || this.isBusy || !answer.results.length) return;
    const { signal } = this.controller;
    this.isBusy = true;
    try {
      const page = await api.search(asked, { limit: NEXT, offset: this.results.shown }, signal);
      if (signal.aborted) return;
      if (page.state !== answer.state) return this.renew();
      this.results.append(page.results, asked);
      const last = page.results.length === 0;
      Object.assign(answer, { more: page.more && !last, partial: answer.partial || page.partial });
      this.report();
    } catch (error) {
      if (signal.aborted) return;
      // What is there stays there.
      answer.more = false;
      showProblem(`There is more, but it cannot be shown: ${error.message}`);
      this.report();
    } finally {
      this.isBusy = false;
    }
  }

  // Starts over, since the index has changed and pages of two states do not fit together.
  renew() {
    const { asked } = this;
    this.asked = null;
    this.show(asked);
  }

  fail(error, signal) {
    if (signal.aborted) return;
    this.answer = null;
    this.more.hidden = true;
    this.results.clear();
    this.settle();
    showFacets(null, this.asked);
    const isOurs = error instanceof api.Refusal;
    showProblem(isOurs ? error.message : `The server does not answer: ${error.message}`, this.asked.query, error.position);
    this.say("No results.");
  }

  // Says what there is, what is missing, and how long it took.
  report() {
    const { answer } = this;
    this.more.hidden = !answer.more;
    this.lookForEnd();
    const shown = this.results.shown;
    if (shown === 0 && !answer.partial && !answer.timed_out) this.results.place.replaceChildren(hint(this.asked));
    const totals = this.counted?.totals;
    const notes = [];
    if (totals) {
      const number = `${count(totals.lines, "line")} in ${count(totals.files, "file")}`;
      notes.push(totals.at_least ? `at least ${number}` : number);
    } else {
      notes.push(answer.more ? `the first ${count(shown, "line")}` : count(shown, "line"));
    }
    notes.push(`${this.took.toFixed(0)} ms`);
    if (this.order) notes.push(this.order);
    const missing = [];
    if (answer.timed_out) missing.push("the search was stopped at its limit of time");
    if (answer.missing?.length) missing.push(answer.missing.join("; "));
    if (missing.length > 0) notes.push(`incomplete: ${missing.join("; ")}`);
    if (answer.indexing) notes.push("a newer state is being indexed");
    if (answer.stale) notes.push(`this is an older state: ${answer.stale}`);
    this.say(notes.join(" · "), answer.partial || answer.timed_out);
  }

  // Has the end of the results tell whether it is near the window.
  lookForEnd() {
    this.observer.unobserve(this.more);
    if (this.isAtRest) this.observer.observe(this.more);
  }

  say(message, isWarning = false) {
    this.summary.textContent = message;
    this.summary.classList.toggle("warning", Boolean(isWarning));
  }
}
