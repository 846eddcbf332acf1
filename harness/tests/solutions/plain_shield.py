#!/usr/bin/env python3
"""A proxy without any policy, for tests of the level 2 judge: forwards everything at once, each
request to the next backend on a connection of its own. With SHIELD_LIES set it makes answers up."""

import itertools
import os
import socket
import sys
import threading


def address(text):
    return ("127.0.0.1", int(text)) if text.isdigit() else text


def flags(name):
    given = [value for flag, value in zip(sys.argv, sys.argv[1:]) if flag == name]
    return [address(part) for value in given for part in value.split(",")]


def connect(backend):
    family = socket.AF_UNIX if isinstance(backend, str) else socket.AF_INET
    connection = socket.socket(family)
    connection.connect(backend)
    return connection


def head(connection):
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return None
        data += piece
    return data


def ask(backend, request):
    with connect(backend) as connection:
        connection.sendall(request.replace(b"keep-alive", b"close"))
        answer = head(connection) or b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
        while piece := connection.recv(65536):
            answer += piece
        return answer


def answer(request):
    if "SHIELD_LIES" in os.environ:
        return b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"hmac":"000"}'
    try:
        if request.startswith(b"HEAD"):
            answers = [ask(backend, request) for backend in BACKENDS]
            return min(answers, key=lambda answer: answer.startswith(b"HTTP/1.1 200"))
        return ask(next(TURNS), request)
    except OSError:
        return b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n"


def serve(connection):
    with connection:
        request = head(connection)
        if request:
            connection.sendall(answer(request))


BACKENDS = flags("--out-ports") + flags("--backend")
TURNS = itertools.cycle(BACKENDS)
LISTEN = (flags("--in-port") + flags("--listen"))[0]
LISTENER = socket.socket(socket.AF_UNIX if isinstance(LISTEN, str) else socket.AF_INET)
LISTENER.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
LISTENER.bind(LISTEN)
LISTENER.listen(256)
while True:
    CONNECTION, _ = LISTENER.accept()
    threading.Thread(target=serve, args=(CONNECTION,), daemon=True).start()
