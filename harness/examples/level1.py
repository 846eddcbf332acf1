#!/usr/bin/env python3
"""Level 1 the plain way, in Python: `level1.py CLONE_URL PUBLIC_USERNAME`.

One thread, hashlib, one coin. About a million hashes a second, so it needs an easy difficulty:

    harness level1 --solution harness/examples/level1.py --difficulty 0001
"""

import hashlib
import os
import subprocess
import sys
import time

# How often to look whether somebody was faster, in seconds.
REFRESH = 2.0


def git(*arguments, data=None):
    run = subprocess.run(["git", *arguments], input=data, stdout=subprocess.PIPE, check=True)
    return run.stdout


def raise_entry(ledger, user):
    """The ledger's text with one coin more for the user."""
    lines = ledger.splitlines()
    for index, line in enumerate(lines):
        name, _, balance = line.rpartition(": ")
        if name == user:
            lines[index] = f"{user}: {int(balance) + 1}"
            break
    else:
        lines.append(f"{user}: 1")
    return "\n".join(lines) + "\n"


def prepare(user):
    """The head, and the text of its successor without a nonce."""
    head = git("rev-parse", "origin/master").decode().strip()
    git("reset", "--quiet", "--hard", head)
    with open("LEDGER.txt") as file:
        ledger = file.read()
    with open("LEDGER.txt", "w") as file:
        file.write(raise_entry(ledger, user))
    git("add", "LEDGER.txt")
    tree = git("write-tree").decode().strip()
    person = f"{user} <{user.replace(' ', '.')}@localhost> {int(time.time())} +0000"
    return f"tree {tree}\nparent {head}\nauthor {person}\ncommitter {person}\n\nGive me a coin\n\n"


def search(text, difficulty, until):
    """A commit below the difficulty, or None when the time is up."""
    width = 16
    data = text.encode()
    begin = hashlib.sha1(b"commit %d\0" % (len(data) + width) + data)
    started, nonce = time.monotonic(), 0
    while time.monotonic() < until:
        for nonce in range(nonce, nonce + 10000):
            attempt = begin.copy()
            attempt.update(b"%016x" % nonce)
            if attempt.hexdigest() < difficulty:
                return data + b"%016x" % nonce
        nonce += 1
        rate = nonce / (time.monotonic() - started) / 1e6
    print(f"{rate:.2f} MH/s", file=sys.stderr)
    return None


def main():
    url, user = sys.argv[1:3]
    folder = url.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    git("clone", "--quiet", url, folder)
    os.chdir(folder)
    while True:
        git("fetch", "--quiet", "origin")
        text = prepare(user)
        with open("difficulty.txt") as file:
            difficulty = file.read().rstrip("\n")
        commit = search(text, difficulty, time.monotonic() + REFRESH)
        if commit is None:
            continue
        found = git("hash-object", "-t", "commit", "-w", "--stdin", data=commit).decode().strip()
        git("reset", "--quiet", "--hard", found)
        if subprocess.run(["git", "push", "--quiet", "origin", "HEAD:master"]).returncode == 0:
            print(f"landed {found}")
            return


if __name__ == "__main__":
    main()
