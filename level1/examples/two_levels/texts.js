// The same in words.

const of = piece => ({
  before: `Block ${piece.block}, once for the whole search`, row: `The row block, for row ${piece.row + 1}`, carry: `Nonce block, rounds 0 to 12, for row ${piece.row + 1}`,
  schedule: `Nonce block, the words, for column ${piece.column + 1}`, hash: `Nonce block, rounds 13 to 79, for row ${piece.row + 1} and column ${piece.column + 1}`,
})[piece.kind];
const titleOf = of;

const SAYS = {
  before: "Nothing here changes from try to try: what SHA-1 has made of these bytes, the midstate, is computed once.",
  row: "The row's ten digits end this block, so that its eighty rounds are the same for all columns. They are done once for a row.",
  carry: "The column's digits stand in word 13 of the last block, and a round uses one word. So the first thirteen rounds do not know the column: they, too, are done once for a row.",
  schedule: "A word from 16 on is made of four earlier ones, by exclusive or. No digit of a row is among them, so a column's schedule is the same for all rows: a third of the work of a hash, done once for a column.",
  hash: "Both meet: the row's variables, carried so far, and the column's words. These 67 rounds are all that is done for this hash alone. At the end the row's midstate is added, and that is the id.",
};

function showSays(app, piece) {
  const text = `${of(piece)}. ${SAYS[piece.kind]}`;
  // Said once, and not at each frame.
  if (byId("says").textContent !== text) byId("says").textContent = text;
}

function rowOf(name, ...values) {
  return element("tr", {}, element("th", { scope: "row" }, name), ...values.map(value => element("td", {}, value)));
}

function showRound(app, piece) {
  const done = doneOf(piece, Math.floor(app.step)), rows = [];
  if (piece.kind === "schedule") {
    const t = Math.min(79, 16 + done);
    rows.push(rowOf(`W${t}`, wordOf(piece, t)), rowOf("made of", `(W${t - 3} ^ W${t - 8} ^ W${t - 14} ^ W${t - 16}) rotated by one`));
    rows.push(rowOf("which are", [3, 8, 14, 16].map(back => wordOf(piece, t - back)).join(" ")));
  } else {
    const t = piece.first + done;
    rows.push(rowOf("a b c d e", stateOf(piece, done).join(" ")));
    rows.push(t < 80 && done < piece.steps ? rowOf(`next: round ${t}`, `W${t} = ${wordOf(piece, t)}`) : rowOf("the block's end", piece.end ? piece.end.match(/.{8}/g).join(" ") : "goes on in each hash of the row"));
  }
  byId("round").tBodies[0].replaceChildren(...rows);
}

function showCost(app) {
  const { hashes, two, one, none } = costs(Math.floor(app.step)), each = sum => hashes ? (sum / hashes).toFixed(1) : "–";
  const cell = text => element("td", { class: "number" }, text);
  const line = (name, ...values) => element("tr", {}, element("th", { scope: "row" }, name), ...values.map(cell));
  byId("cost").tBodies[0].replaceChildren(
    line("steps", two.toLocaleString("en"), one.toLocaleString("en"), none.toLocaleString("en")),
    line("hashes", hashes, hashes, hashes), line("steps a hash", each(two), each(one), each(none)));
}

function showIds(app) {
  const done = data.pieces.filter(({ kind, from, steps }) => kind === "hash" && from + steps <= app.step);
  if (byId("ids").childElementCount === done.length) return;
  byId("ids").replaceChildren(...done.map(({ row, column }) => {
    const id = data.ids[row][column], found = id.startsWith("0");
    return element("li", found ? { class: "found" } : {}, `${id}${found ? " begins with a zero" : ""}`);
  }));
}

function showKey() {
  const entries = [["same", "the same in all sixteen"], ["row", "the row's"], ["column", "the column's"], ["both", "one hash's"]];
  byId("key").replaceChildren(...entries.map(([name, text]) => element("span", {}, element("i", { style: `--own: var(--${name})` }), text)));
}

function showControls(app, piece) {
  byId("now").textContent = `step ${Math.floor(app.step)} of ${app.steps}`;
  app.scrub.setAttribute("aria-valuemax", app.steps);
  app.scrub.setAttribute("aria-valuenow", Math.floor(app.step));
  app.scrub.setAttribute("aria-valuetext", `${of(piece)}, step ${Math.floor(app.step)}`);
}
