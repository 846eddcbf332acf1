#!/usr/bin/env python3
"""A small shield for level 2: fair by client, two requests in flight per backend.

Run by the harness as: level2.py --in-port 3000 --out-ports 3001,3002
A request waits for a place at a backend; whenever one is free, the waiting request of the client
that was served least goes first. One that has waited too long is rejected.
"""

import argparse
import asyncio
import itertools

IN_FLIGHT = 2      # per backend, as many as it works on
PATIENCE = 0.5     # seconds that a request may wait for its turn
MAX_WAITING = 200
MAX_BODY = 65536   # bytes of a request's body, which is read before a place is taken
HALF_LIFE = 1.0    # seconds after which an answer counts half


def field(head, wanted):
    """The value of a header field; empty if there is none."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == wanted:
            return value.strip()
    return b""


class Shield:
    def __init__(self, ports):
        self.ports = ports
        self.free = list(itertools.chain.from_iterable([ports] * IN_FLIGHT))
        self.idle = {port: [] for port in ports}
        self.served = {}
        self.waiting = []

    async def forget(self):
        """Lets old answers fade, and clients that have not been seen for long."""
        while True:
            await asyncio.sleep(HALF_LIFE)
            self.served = {name: n / 2 for name, n in self.served.items() if n > 0.1}

    async def place(self, client):
        """Waits for a place at a backend; None if it takes too long, or if the client has had more
        than its share: a request turned away at once makes room for the next in the client's line."""
        if self.free and not self.waiting:
            return self.free.pop(0)
        share = sum(self.served.values()) / max(1, len(self.served))
        if self.served.get(client, 0) > share or len(self.waiting) >= MAX_WAITING:
            return None
        turn = asyncio.get_running_loop().create_future()
        entry = (client, turn)
        self.waiting.append(entry)
        try:
            return await asyncio.wait_for(turn, PATIENCE)
        except asyncio.TimeoutError:
            return None
        finally:
            if entry in self.waiting:
                self.waiting.remove(entry)

    def release(self, port):
        """Gives the place to the waiting client that was served least."""
        while self.waiting:
            entry = min(self.waiting, key=lambda entry: self.served.get(entry[0], 0))
            self.waiting.remove(entry)
            if not entry[1].done():
                entry[1].set_result(port)
                return
        self.free.append(port)

    async def ask(self, port, head, body=b""):
        """Sends a request to a backend and reads its answer, on a kept connection if there is one."""
        reader, writer = self.idle[port].pop() if self.idle[port] else (
            await asyncio.open_connection("127.0.0.1", port))
        try:
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HEAD"):
                answer += await reader.readexactly(int(field(answer, b"content-length") or 0))
        except BaseException:
            writer.close()
            raise
        self.idle[port].append((reader, writer))
        return answer

    async def answer(self, head, body):
        if head.startswith(b"HEAD"):
            answers = await asyncio.gather(*(self.ask(port, head) for port in self.ports))
            good = all(answer.split(b" ")[1] == b"200" for answer in answers)
            status = b"200 OK" if good else b"500 Internal Server Error"
            return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
        client = field(head, b"x-forwarded-for")
        port = await self.place(client)
        if port is None:
            return b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
        self.served[client] = self.served.get(client, 0) + 1
        try:
            return await self.ask(port, head, body)
        finally:
            self.release(port)

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(field(head, b"content-length") or 0)
                if length > MAX_BODY:
                    writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
                    break
                body = await reader.readexactly(length)
                try:
                    answer = await self.answer(head, body)
                except (OSError, asyncio.IncompleteReadError):
                    answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
                writer.write(answer)
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--in-port", type=int, default=3000)
    parser.add_argument("--out-ports", default="3001")
    args = parser.parse_args()
    shield = Shield([int(port) for port in args.out_ports.split(",")])
    server = await asyncio.start_server(shield.serve, "127.0.0.1", args.in_port)
    await asyncio.gather(server.serve_forever(), shield.forget())


if __name__ == "__main__":
    asyncio.run(main())
