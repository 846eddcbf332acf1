#!/usr/bin/env python3
"""A node that writes a trace of what it says and hears (docs/trace.md).

Every node sends each peer a number of greetings and answers those that come,
and writes both down, until it is ended.

    harness network --nodes 3 --trace greetings -- harness/examples/trace.py {id} {listen} {peers}
    harness trace greetings --html greetings.html

By hand, without the harness, the folder for the traces comes last.
"""

import json
import os
import socket
import sys
import threading
import time

GREETINGS = 20
PAUSE = 0.02


class Trace:
    """Events as JSON lines, each whole: threads take turns."""

    def __init__(self, path, node):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.file = open(path, "w", buffering=1)
        self.node, self.turn = node, threading.Lock()
        self.line({"trace": 1, "program": "trace.py", "title": "Greetings", "nodes": [node]})

    def line(self, fields):
        with self.turn:
            self.file.write(json.dumps(fields) + "\n")

    def event(self, kind, **fields):
        # The monotonic clock is one for all processes of a machine.
        self.line({"t": time.monotonic_ns(), "kind": kind, "node": self.node, **fields})


def address(text):
    """A unix socket if it begins with / or ., else host:port."""
    if text[0] in "/.":
        return socket.AF_UNIX, text
    host, port = text.rsplit(":", 1)
    return socket.AF_INET, (host, int(port))


def serve(trace, listen):
    family, place = address(listen)
    server = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(place)
    server.listen()
    while True:
        connection, _ = server.accept()
        threading.Thread(target=answer, args=(trace, connection), daemon=True).start()


def answer(trace, connection):
    """Answers each greeting, a line that is the message's id."""
    try:
        for line in connection.makefile("r"):
            number = line.strip()
            peer = number.split(">")[0]
            trace.event("deliver", id=number, type="Hello", **{"from": peer})
            back = f"{trace.node}>{peer} re {number}"
            trace.event("send", id=back, type="Welcome", to=peer)
            connection.sendall(f"{back}\n".encode())
    except OSError:
        pass  # The link went down: the other end connects again.
    connection.close()


def greet(trace, peer, place):
    """Sends greetings until so many were answered."""
    count, answered = 0, 0
    while answered < GREETINGS:
        try:
            family, where = address(place)
            with socket.socket(family, socket.SOCK_STREAM) as link:
                link.settimeout(1)
                link.connect(where)
                lines = link.makefile("r")
                while answered < GREETINGS:
                    count += 1
                    number = f"{trace.node}>{peer} #{count}"
                    trace.event("send", id=number, type="Hello", to=peer)
                    link.sendall(f"{number}\n".encode())
                    line = lines.readline()
                    if not line:
                        break
                    trace.event("deliver", id=line.strip(), type="Welcome", **{"from": peer})
                    answered += 1
                    time.sleep(PAUSE)
        except OSError:
            time.sleep(PAUSE)


def main():
    node, listen, peers, *folder = sys.argv[1:]
    # The harness says where to write, if it wants a trace.
    path = os.environ.get("OCTOPUS_TRACE") or os.path.join(*folder, f"{node}.jsonl")
    trace = Trace(path, node)
    trace.event("restart")
    threading.Thread(target=serve, args=(trace, listen), daemon=True).start()
    greeters = [
        threading.Thread(target=greet, args=(trace, *peer.split("=", 1)))
        for peer in peers.split(",")
    ]
    for greeter in greeters:
        greeter.start()
    for greeter in greeters:
        greeter.join()
    trace.event("done", text="all greetings were answered")
    threading.Event().wait()  # The others may still want their answers: whoever started it ends it.


if __name__ == "__main__":
    main()
