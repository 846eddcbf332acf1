#!/usr/bin/env python3
"""Marks the words of standard input that the dictionary, the first argument, does not know."""

import sys


def read_dictionary(path):
    with open(path, "rb") as file:
        return set(file.read().split(b"\n"))


def highlight(line, known):
    """A line with `<` and `>` around its unknown words; bytes, for words may be anything."""
    marked = []
    for word in line.split(b" "):
        if word and word.lower() not in known:
            word = b"<" + word + b">"
        marked.append(word)
    return b" ".join(marked)


def main():
    known = read_dictionary(sys.argv[1])
    document = sys.stdin.buffer.read()
    lines = [highlight(line, known) for line in document.split(b"\n")]
    sys.stdout.buffer.write(b"\n".join(lines))


main()
