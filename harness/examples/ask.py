#!/usr/bin/env python3
"""Clients for `harness/examples/register.toml`: the workload of a program of one's own.

Each client asks one node, one thing at a time, and writes what it asks and is
answered to stdout, as `harness network --workload-command` wants it.
"""

import json
import random
import socket
import sys
import threading
import time

HOSTS = ["node0", "node1", "node2"]
PORT = 7000
CLIENTS = 6
KEYS = 3
PAUSE = 0.05

writing = threading.Lock()


def tell(process, kind, f, key, value):
    """A line of the history. It counts from now, so it must not wait in a buffer."""
    line = {"process": process, "node": process % len(HOSTS), "type": kind, "f": f, "key": key}
    with writing:
        line |= {"value": value, "time": time.monotonic_ns()}
        print(json.dumps(line), flush=True)


def client(process):
    draw = random.Random(process)
    host = HOSTS[process % len(HOSTS)]
    number = process
    node = None
    while True:
        time.sleep(PAUSE)
        f, key, value = "read", draw.randrange(KEYS), None
        if draw.random() < 0.5:
            number += CLIENTS  # No number is written twice: so every read says whose it saw.
            f, value = "write", number
        tell(process, "invoke", f, key, value)
        try:
            if node is None:
                node = socket.create_connection((host, PORT), timeout=1)
            words = [f, str(key)] + ([str(value)] if f == "write" else [])
            node.sendall(" ".join(words).encode() + b"\n")
            answer = node.makefile().readline().strip()
            if not answer:
                raise OSError("it hung up")
        except OSError:
            node = None
            # Nobody knows whether a write was done. A read changes nothing.
            tell(process, "info" if f == "write" else "fail", f, key, value)
            continue
        if f == "read":
            value = None if answer == "none" else int(answer)
        tell(process, "ok", f, key, value)


for process in range(CLIENTS):
    threading.Thread(target=client, args=(process,), daemon=True).start()
threading.Event().wait()  # Until the harness ends it.
