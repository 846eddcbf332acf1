#!/usr/bin/env python3
"""One node that answers SQL by itself: `node.py -l ./node0.sock -d DIR [--join ./node0.sock]`.

It does not talk to the other nodes. That is where the work begins.
"""

import argparse
import os
import socket
import socketserver
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler

parser = argparse.ArgumentParser()
parser.add_argument("-l", "--listen", default="127.0.0.1:4000")
parser.add_argument("-d", "--directory", default=".")
parser.add_argument("--join")
parser.add_argument("-v", "--verbose", action="store_true")
args = parser.parse_args()


def show(value):
    """A value as the sqlite3 shell prints it."""
    if value is None:
        return ""
    if isinstance(value, float):
        text = f"{value:.15g}"
        return text if any(c in text for c in ".eni") else text + ".0"
    return str(value)


class Database:
    def __init__(self):
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.number = 0
        self.lock = threading.Lock()

    def execute(self, sql):
        """The output of a request, after its sequence number: requests are executed one by one."""
        with self.lock:
            try:
                output = "".join(self.rows(sql))
            except sqlite3.Error as error:
                output = f"Error: near line 1: {error}\n"
            number = self.number
            self.number += 1
        return f"SequenceNumber: {number}\n{output}"

    def rows(self, sql):
        """A line a row, of all statements in turn."""
        for statement in statements(sql):
            for row in self.connection.execute(statement):
                yield "|".join(show(value) for value in row) + "\n"


def statements(sql):
    """A text of SQL, statement by statement."""
    statement = ""
    for piece in (sql + ";").split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/sql":
            status, answer = 200, database.execute(body.decode()).encode()
        else:
            status, answer = 404, b""
        head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(answer)}\r\n\r\n"
        self.wfile.write(head.encode() + answer)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def get_request(self):
        connection, _ = self.socket.accept()
        # The handler wants to know a host and a port.
        return connection, ("unix", 0)


def serve(listen):
    if listen[0] in "/.":
        # A socket that was left behind by a killed process.
        if os.path.exists(listen):
            os.unlink(listen)
        return UnixServer(listen, Handler)
    host, port = listen.rsplit(":", 1)
    return Server((host, int(port)), Handler)


os.makedirs(args.directory, exist_ok=True)
os.chdir(args.directory)
database = Database()
serve(args.listen).serve_forever()
