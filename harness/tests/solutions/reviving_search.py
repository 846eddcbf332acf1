#!/usr/bin/env python3
"""A code search that starts its nodes again when they die, for tests of the level 3 judge. SEARCH_NODES is
`careful` (a node reads its files again, and says that it is not ready until it has them) or `forgetful` (it
comes back without any, and finds nothing)."""

import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples"))
import level3


class Careful(level3.Node):
    """Keeps the path of what it has read beside it."""

    def __init__(self, number):
        super().__init__(number)
        self.kept = f"tree{number}"
        if os.path.exists(self.kept):
            with open(self.kept) as file:
                threading.Thread(target=self.index, args=(file.read(),), daemon=True).start()

    def index(self, root):
        with open(self.kept, "w") as file:
            file.write(root)
        super().index(root)

    def answer(self, path, parameters):
        if path == "/" and not self.ready:
            return 502, {"success": False, "error": "the files are being read again"}
        return super().answer(path, parameters)


def start_servers(base_port):
    command = [sys.executable, sys.argv[0], "--base-port", str(base_port)]
    roles = [["--master"]] + [["--id", str(node)] for node in level3.NODES]
    children = [subprocess.Popen(command + role) for role in roles]

    def stop(*_):
        for child in children:
            child.terminate()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    while True:
        ended, _ = os.wait()
        for place, child in enumerate(children):
            if child.pid == ended:
                children[place] = subprocess.Popen(command + roles[place])


if os.environ["SEARCH_NODES"] == "careful":
    level3.Node = Careful
level3.start_servers = start_servers
level3.main()
