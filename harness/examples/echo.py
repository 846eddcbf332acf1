#!/usr/bin/env python3
"""A node for `harness network` that measures the network it is on.

Every node echoes what its peers send, and sends each peer a numbered line
every 20 ms. After --seconds it prints, for each peer, how many lines came
back, how long the round trips took, and how often it had to connect again.

    harness network --nodes 3 -- harness/examples/echo.py {id} {listen} {peers}
"""

import socket
import sys
import threading
import time

SECONDS = 5.0
PAUSE = 0.02
PATIENCE = 2.0  # Longer than a short cut: whoever waits it out need not connect again.


def address(text):
    """A unix socket if it begins with / or ., else host:port."""
    if text[0] in "/.":
        return socket.AF_UNIX, text
    host, port = text.rsplit(":", 1)
    return socket.AF_INET, (host, int(port))


def serve(listen):
    family, place = address(listen)
    server = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(place)
    server.listen()
    while True:
        connection, _ = server.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection):
    try:
        while data := connection.recv(4096):
            connection.sendall(data)
    except OSError:
        pass  # The link went down: the other end connects again.
    connection.close()


class Probe(threading.Thread):
    """Sends lines to one peer and times their echoes."""

    def __init__(self, peer, place, until):
        super().__init__()
        self.peer, self.place, self.until = peer, place, until
        self.sent, self.connects, self.trips = 0, 0, []

    def run(self):
        while time.monotonic() < self.until:
            try:
                family, place = address(self.place)
                with socket.socket(family, socket.SOCK_STREAM) as link:
                    link.settimeout(PATIENCE)
                    link.connect(place)
                    self.connects += 1
                    self.exchange(link)
            except OSError:
                time.sleep(PAUSE)

    def exchange(self, link):
        lines = link.makefile("r")
        while time.monotonic() < self.until:
            begin = time.monotonic()
            self.sent += 1
            link.sendall(f"{self.sent}\n".encode())
            if lines.readline() != f"{self.sent}\n":
                return
            self.trips.append((time.monotonic() - begin) * 1000)
            time.sleep(PAUSE)

    def report(self, name):
        trips = sorted(self.trips) or [float("nan")]
        print(
            f"{name} -> {self.peer}: {self.sent} sent, {len(self.trips)} came back, round trip "
            f"median {trips[len(trips) // 2]:.1f} ms, longest {trips[-1]:.1f} ms, "
            f"{self.connects} connects",
            flush=True,
        )


def main():
    name, listen, peers = sys.argv[1:4]
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else SECONDS
    until = time.monotonic() + seconds
    threading.Thread(target=serve, args=(listen,), daemon=True).start()
    probes = [Probe(*peer.split("=", 1), until) for peer in peers.split(",")]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join()
    for probe in probes:
        probe.report(name)
    time.sleep(1)  # The others may still want their echoes.


if __name__ == "__main__":
    main()
