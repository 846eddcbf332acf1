#!/usr/bin/env python3
"""A code search with a master and three nodes: `search.py start-servers [--base-port 9090]`.

A node keeps every third file in memory and looks at each of their lines for each query.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

NODES = (1, 2, 3)
MAX_FILE = 1 << 20


class Handler(BaseHTTPRequestHandler):
    """Sends what `self.server.answer(path, parameters)` gives: a status and a body."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            status, body = self.server.answer(url.path, parameters)
        except KeyError as name:
            status, body = 400, {"success": False, "error": f"parameter {name} is missing"}
        except (OSError, ValueError, http.client.HTTPException) as error:
            status, body = 502, {"success": False, "error": str(error)}
        body = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
        self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def log_message(self, *_):
        pass


def read_text(path):
    """The file's text; none of a file that is not to be indexed."""
    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > MAX_FILE:
        return None
    with open(path, "rb") as file:
        data = file.read()
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def visible(names):
    return sorted(name for name in names if not name.startswith("."))


class Node(ThreadingHTTPServer):
    def __init__(self, base_port, number):
        super().__init__(("127.0.0.1", base_port + number), Handler)
        self.number = number
        self.lines = []
        self.is_indexed = False

    def index(self, root):
        lines, count = [], 0
        for folder, folders, names in os.walk(root):
            folders[:] = visible(folders)
            for name in visible(names):
                path = os.path.join(folder, name)
                count += 1
                text = read_text(path) if count % len(NODES) == self.number - 1 else None
                if text is not None:
                    shown = os.path.relpath(path, root)
                    lines += [(shown, n, line) for n, line in enumerate(text.split("\n"), 1)]
        self.lines = lines
        self.is_indexed = True

    def answer(self, path, parameters):
        if path == "/index":
            self.is_indexed = False
            threading.Thread(target=self.index, args=[parameters["path"]], daemon=True).start()
        elif path == "/isIndexed":
            return (200 if self.is_indexed else 502), {"success": self.is_indexed}
        elif path == "/":
            needle = parameters["q"]
            return 200, [f"{path}:{n}" for path, n, line in self.lines if needle in line]
        return 200, {"success": True}


class Master(ThreadingHTTPServer):
    def __init__(self, base_port):
        super().__init__(("127.0.0.1", base_port), Handler)
        self.base_port = base_port

    def ask(self, node, target):
        connection = http.client.HTTPConnection("127.0.0.1", self.base_port + node, timeout=60)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def answer(self, path, parameters):
        if path == "/":
            return 200, {"success": True, "results": self.search(parameters["q"])}
        if path == "/index":
            if not os.path.isdir(parameters["path"]):
                return 404, {"success": False, "error": "no such folder"}
            path += "?path=" + quote(parameters["path"], safe="")
        answers = [self.ask(node, path) for node in NODES]
        good = all(status == 200 for status, _ in answers)
        return (200 if good else 502), {"success": good}

    def search(self, needle):
        results = []
        for node in NODES:
            try:
                results += self.ask(node, "/?q=" + quote(needle, safe=""))[1]
            except OSError:
                # Nobody is there, so nothing is found there.
                pass
        return results


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


parser = argparse.ArgumentParser()
parser.add_argument("command", nargs="?", choices=["start-servers"])
parser.add_argument("--base-port", type=int, default=9090)
parser.add_argument("--master", action="store_true")
parser.add_argument("--id", type=int, choices=NODES)
args = parser.parse_args()
if args.command:
    start_servers(args.base_port)
elif args.master:
    Master(args.base_port).serve_forever()
else:
    Node(args.base_port, args.id).serve_forever()
