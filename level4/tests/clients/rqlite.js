// rqlite-js, used as its documentation does. The address is the argument.
const assert = require("node:assert");
const { DataApiClient, StatusApiClient, BackupApiClient } = require("rqlite-js");

(async () => {
  const url = `http://${process.argv[2]}`;
  const data = new DataApiClient(url);
  let results = await data.execute("CREATE TABLE js (id INTEGER NOT NULL PRIMARY KEY, name TEXT)");
  assert(!results.hasError(), results.getFirstError());
  results = await data.execute(
    [["INSERT INTO js (name) VALUES (?)", "fiona"], ["INSERT INTO js (name) VALUES (:name)", { name: "bob" }]],
    { transaction: true },
  );
  assert(!results.hasError(), results.getFirstError());
  assert.strictEqual(results.get(1).getLastInsertId(), 2);
  assert.strictEqual(results.get(1).getRowsAffected(), 1);
  for (const level of ["none", "weak", "strong"]) {
    results = await data.query("SELECT * FROM js ORDER BY id", { level });
    assert.deepStrictEqual(results.toArray(), [{ id: 1, name: "fiona" }, { id: 2, name: "bob" }]);
  }
  results = await data.query([["SELECT name FROM js WHERE id = ?", 2]]);
  assert.deepStrictEqual(results.toArray(), [{ name: "bob" }]);
  results = await data.execute("INSERT INTO nowhere VALUES (1)");
  assert(results.hasError());
  const status = await new StatusApiClient(url).status();
  assert(JSON.stringify(status.data ?? status).includes("store"));
  assert(BackupApiClient);
  console.log("done");
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
