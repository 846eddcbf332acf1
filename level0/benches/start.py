#!/usr/bin/env python3
"""Whole processes on a short document, in turn, the empty Rust program first.

    level0/benches/start.py target/release/level0 [OTHER …]

Prints for each program its best and its median time in milliseconds, and both as multiples of those of
the empty program that is linked like it: dynamically (`empty`), or, if its name has `musl`, statically.
The document is one of 2014, 11 KB, the output goes to /dev/null. RUNS=500 makes 500 runs of each.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

DOCUMENT = os.path.join(os.path.dirname(__file__), "../tests/data/HhC91MrU7B.input.txt")
MUSL = "x86_64-unknown-linux-musl"


def empty(folder, target):
    path = os.path.join(folder, "empty" + (target or ""))
    source = path + ".rs"
    with open(source, "w", encoding="utf-8") as file:
        file.write("fn main() {}")
    flags = ["-C", "opt-level=3", "-C", "codegen-units=1", "-o", path, source]
    subprocess.run(["rustc", *(["--target", target] if target else []), *flags], check=True)
    return path


def run(program):
    with open(DOCUMENT, "rb") as stdin, open(os.devnull, "wb") as stdout:
        actions = [(os.POSIX_SPAWN_DUP2, stdin.fileno(), 0), (os.POSIX_SPAWN_DUP2, stdout.fileno(), 1)]
        start = time.perf_counter()
        child = os.posix_spawn(program, [program], {}, file_actions=actions)
        _, status = os.waitpid(child, 0)
        end = time.perf_counter()
    assert status == 0, program
    return (end - start) * 1000


def main():
    with tempfile.TemporaryDirectory() as folder:
        programs = sys.argv[1:]
        dynamic = empty(folder, None)
        static = empty(folder, MUSL) if any("musl" in program for program in programs) else None
        programs = [path for path in (dynamic, static) if path] + programs
        times = {program: [] for program in programs}
        for _ in range(int(os.environ.get("RUNS", "300"))):
            for program in programs:
                times[program].append(run(program))
        figures = {program: (min(all), statistics.median(all)) for program, all in times.items()}
        for program, (best, median) in figures.items():
            base = figures[static if static and "musl" in program else dynamic]
            print(f"{program}: best {best:.3f} ({best / base[0]:.2f}), median {median:.3f} ({median / base[1]:.2f})")


main()
