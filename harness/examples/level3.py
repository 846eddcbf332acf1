#!/usr/bin/env python3
"""A small code search for level 3: a master and three nodes that keep their files in memory.

Run by the harness as: level3.py start-servers [--base-port 9090]
Every node takes each third file and looks through all of them for every query; the master adds the
three answers up.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

NODES = (1, 2, 3)
MAX_FILE = 1 << 20


class Handler(BaseHTTPRequestHandler):
    """Sends what `self.answer(path, parameters)` gives: a status and a body."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            status, body = self.answer(url.path, parameters)
        except KeyError as name:
            status, body = 400, {"success": False, "error": f"parameter {name} is missing"}
        except (OSError, http.client.HTTPException, ValueError) as error:
            status, body = 502, {"success": False, "error": str(error)}
        body = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
        self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def log_message(self, *_):
        pass


class Node:
    def __init__(self, number):
        self.number = number
        self.files = []
        self.ready = False

    def index(self, root):
        paths = []
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths += [os.path.join(folder, name) for name in names if not name.startswith(".")]
        files = []
        for path in sorted(paths)[self.number - 1::len(NODES)]:
            if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > MAX_FILE:
                continue
            with open(path, "rb") as file:
                data = file.read()
            try:
                text = data.decode()
            except UnicodeDecodeError:
                continue
            if "\0" not in text:
                files.append((os.path.relpath(path, root), text))
        self.files = files
        self.ready = True

    def search(self, needle):
        if "\n" in needle:
            return []
        return [f"{path}:{number}"
                for path, text in self.files if needle in text
                for number, line in enumerate(text.split("\n"), 1) if needle in line]

    def answer(self, path, parameters):
        if path == "/healthcheck":
            return 200, {"success": True}
        if path == "/index":
            self.ready = False
            threading.Thread(target=self.index, args=(parameters["path"],), daemon=True).start()
            return 200, {"success": True}
        if path == "/isIndexed":
            return (200 if self.ready else 502), {"success": self.ready}
        return 200, {"success": True, "results": self.search(parameters["q"])}


class Master:
    def __init__(self, base_port):
        self.base_port = base_port
        self.kept = {}
        self.threads = ThreadPoolExecutor(len(NODES))

    def ask(self, node, target):
        """Asks a node on a kept connection; a node that fails makes the whole answer fail."""
        connection = self.kept.pop(node, None)
        connection = connection or http.client.HTTPConnection(
            "127.0.0.1", self.base_port + node, timeout=30)
        connection.request("GET", target)
        response = connection.getresponse()
        body = json.loads(response.read())
        self.kept[node] = connection
        return response.status, body

    def gather(self, target):
        """The answers of the nodes. All are awaited before the first failure is told."""
        asked = [self.threads.submit(self.ask, node, target) for node in NODES]
        for answer in asked:
            answer.exception()
        return [answer.result() for answer in asked]

    def answer(self, path, parameters):
        if path == "/index":
            if not os.path.isdir(parameters["path"]):
                return 404, {"success": False, "error": "no such folder"}
            path += "?path=" + quote(parameters["path"], safe="")
        elif path == "/":
            path += "?q=" + quote(parameters["q"], safe="")
        answers = self.gather(path)
        if any(status != 200 for status, _ in answers):
            return 502, {"success": False, "error": "a node is not ready"}
        results = [result for _, body in answers for result in body.get("results", [])]
        return 200, {"success": True, "results": results}


def serve(port, server):
    handler = type("H", (Handler,), {"answer": lambda self, *question: server.answer(*question)})
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


def start_servers(base_port):
    command = [sys.executable, sys.argv[0], "--base-port", str(base_port)]
    roles = [["--master"]] + [["--id", str(node)] for node in NODES]
    children = [subprocess.Popen(command + role) for role in roles]

    def stop(*_):
        for child in children:
            child.terminate()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for child in children:
        child.wait()


def main(master=Master):
    parser = argparse.ArgumentParser()
    parser.add_argument("command", nargs="?", choices=["start-servers"])
    parser.add_argument("--base-port", type=int, default=9090)
    parser.add_argument("--master", action="store_true")
    parser.add_argument("--id", type=int, choices=NODES)
    args = parser.parse_args()
    if args.command:
        start_servers(args.base_port)
    elif args.master:
        serve(args.base_port, master(args.base_port))
    else:
        serve(args.base_port + args.id, Node(args.id))


if __name__ == "__main__":
    main()
