#!/usr/bin/env node
// One node that answers SQL by itself: `node.js -l ./node0.sock -d DIR [--join ./node0.sock]`.
// It needs the command `sqlite3`.
//
// It does not talk to the other nodes. That is where the work begins.
"use strict";

const { execFileSync } = require("child_process");
const fs = require("fs");
const http = require("http");

// The value of an option, written `-l VALUE` or `--join=VALUE`.
function option(name, fallback) {
  const at = process.argv.findIndex((word) => word === name || word.startsWith(`${name}=`));
  if (at < 0) return fallback;
  const word = process.argv[at];
  return word.includes("=") ? word.slice(name.length + 1) : process.argv[at + 1];
}

const listen = option("-l", "127.0.0.1:4000");
const folder = option("-d", ".");
fs.mkdirSync(folder, { recursive: true });
process.chdir(folder);

let number = 0;

// The output of a request, after its sequence number: requests are executed one by one.
function execute(sql) {
  let output;
  try {
    output = execFileSync("sqlite3", ["data.sqlite"], { input: `${sql};\n`, stdio: "pipe" });
  } catch (error) {
    // The shell ends with an error, and its last words are the answer.
    output = error.stderr;
  }
  return `SequenceNumber: ${number++}\n${output}`;
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const isSql = request.method === "POST" && request.url === "/sql";
    const answer = isSql ? execute(Buffer.concat(chunks).toString()) : "";
    response.writeHead(isSql ? 200 : 404, { "Content-Length": Buffer.byteLength(answer) });
    response.end(answer);
  });
});

if (/^[/.]/.test(listen)) {
  // A socket that was left behind by a killed process.
  fs.rmSync(listen, { force: true });
  server.listen(listen);
} else {
  const [host, port] = listen.split(":");
  server.listen(Number(port), host);
}
