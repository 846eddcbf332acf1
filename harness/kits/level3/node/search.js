#!/usr/bin/env node
// A code search with a master and three nodes: `search.js start-servers [--base-port 9090]`.
//
// A node keeps every third file in memory and looks at each of their lines for each query.
"use strict";

const { spawn } = require("child_process");
const fs = require("fs");
const http = require("http");
const path = require("path");

const NODES = [1, 2, 3];
const MAX_FILE = 1 << 20;

function option(name, fallback) {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : process.argv[at + 1];
}

const basePort = Number(option("--base-port", "9090"));

// Answers each request with what `answer(url)` gives: a status and a body.
function serve(port, answer) {
  const server = http.createServer(async (request, response) => {
    let status, body;
    try {
      [status, body] = await answer(new URL(request.url, "http://localhost"));
    } catch (error) {
      [status, body] = [502, { success: false, error: String(error) }];
    }
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
  });
  server.listen(port, "127.0.0.1");
}

// The file's text; null of a file that is not to be indexed.
function readText(file) {
  if (fs.statSync(file).size > MAX_FILE) return null;
  const data = fs.readFileSync(file);
  if (data.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return null;
  }
}

function* files(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue;
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* files(file);
    else if (entry.isFile()) yield file;
  }
}

function node(id) {
  let lines = [];
  let isIndexed = false;

  function index(root) {
    lines = [];
    [...files(root)].sort().forEach((file, at) => {
      const text = at % NODES.length === id - 1 ? readText(file) : null;
      if (text === null) return;
      const shown = path.relative(root, file);
      text.split("\n").forEach((line, i) => lines.push({ place: `${shown}:${i + 1}`, line }));
    });
    isIndexed = true;
  }

  serve(basePort + id, (url) => {
    if (url.pathname === "/index") {
      isIndexed = false;
      setImmediate(index, url.searchParams.get("path"));
    } else if (url.pathname === "/isIndexed") {
      return [isIndexed ? 200 : 502, { success: isIndexed }];
    } else if (url.pathname === "/") {
      const needle = url.searchParams.get("q");
      return [200, lines.filter(({ line }) => line.includes(needle)).map(({ place }) => place)];
    }
    return [200, { success: true }];
  });
}

// Asks a node and gives what it answers: a status and a body.
function ask(id, target) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: basePort + id, path: target };
    const request = http.get(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve([response.statusCode, JSON.parse(Buffer.concat(chunks))]));
    });
    request.on("error", reject);
  });
}

function master() {
  async function search(needle) {
    const target = `/?q=${encodeURIComponent(needle)}`;
    // Where nobody is there, nothing is found.
    const answers = NODES.map((id) => ask(id, target).catch(() => [502, []]));
    return (await Promise.all(answers)).flatMap(([, results]) => results);
  }

  serve(basePort, async (url) => {
    if (url.pathname === "/") {
      const needle = url.searchParams.get("q");
      if (!needle) return [400, { success: false, error: "parameter q is missing" }];
      return [200, { success: true, results: await search(needle) }];
    }
    if (url.pathname === "/index" && !fs.existsSync(url.searchParams.get("path"))) {
      return [404, { success: false, error: "no such folder" }];
    }
    const answers = await Promise.all(NODES.map((id) => ask(id, url.pathname + url.search)));
    const good = answers.every(([status]) => status === 200);
    return [good ? 200 : 502, { success: good }];
  });
}

function startServers() {
  const roles = [["--master"], ...NODES.map((id) => ["--id", String(id)])];
  const children = roles.map((role) => {
    const args = [process.argv[1], "--base-port", String(basePort), ...role];
    return spawn(process.execPath, args, { stdio: "inherit" });
  });
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      children.forEach((child) => child.kill());
      process.exit(0);
    });
  }
}

if (process.argv.includes("start-servers")) startServers();
else if (process.argv.includes("--master")) master();
else node(Number(option("--id")));
