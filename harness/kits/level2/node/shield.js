#!/usr/bin/env node
// A proxy that lets everybody through: `shield.js --in-port 3000 --out-ports 3001,3002`.
"use strict";

const http = require("http");

function option(name, fallback) {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : process.argv[at + 1];
}

const ports = option("--out-ports", "3001").split(",").map(Number);
let turn = 0;

// Asks a backend and gives what it answers: a status and a body.
function ask(port, method, path) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", port, method, path }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve([response.statusCode, Buffer.concat(chunks)]));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end();
  });
}

// Are all backends well? The judge asks this before it begins.
async function health(path) {
  const answers = await Promise.all(ports.map((port) => ask(port, "HEAD", path)));
  return [answers.every(([status]) => status === 200) ? 200 : 500, Buffer.alloc(0)];
}

async function answer(request) {
  if (request.method === "HEAD") return health(request.url);
  // Who asks is in request.headers["x-forwarded-for"]. This shield does not look at it.
  turn = (turn + 1) % ports.length;
  return ask(ports[turn], request.method, request.url);
}

const server = http.createServer((request, response) => {
  answer(request)
    .catch(() => [502, Buffer.alloc(0)])
    .then(([status, body]) => {
      response.writeHead(status, { "Content-Length": body.length });
      response.end(body);
    });
});
server.listen(Number(option("--in-port", "3000")), "127.0.0.1");
