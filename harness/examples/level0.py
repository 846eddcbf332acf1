#!/usr/bin/env python3
"""Level 0 in a few lines of Python: a set of the dictionary's lines, one pass over the words.

    harness level0 --solution harness/examples/level0.py
"""

import re
import sys

with open(sys.argv[1], "rb") as dictionary:
    entries = set(dictionary.read().split(b"\n"))


def mark(word):
    text = word.group()
    return text if text.lower() in entries else b"<" + text + b">"


document = sys.stdin.buffer.read()
sys.stdout.buffer.write(re.sub(rb"[^ \n]+", mark, document))
