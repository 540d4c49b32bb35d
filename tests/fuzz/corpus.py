#!/usr/bin/env python3
"""corpus.py unpack FOLDER: inputs of tests/golden/fuzz as files for the fuzzer. corpus.py pack FOLDER [MOST]: some of what it has learned, of all lengths.

A part's inputs are lines of hexadecimal digits in tests/golden/fuzz/PART.txt; src/fuzz.rs feeds each to its part in `make test`.
"""

import hashlib
import pathlib
import sys

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/fuzz"


def unpack(folder):
    for lines in GOLDEN.glob("*.txt"):
        part = folder / lines.stem
        part.mkdir(parents=True, exist_ok=True)
        for line in lines.read_text().split():
            data = bytes.fromhex(line)
            (part / hashlib.sha1(data).hexdigest()).write_bytes(data)


def pack(folder, most):
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        learned = sorted({file.read_bytes() for file in part.iterdir()}, key=lambda data: (len(data), data))
        some = learned[:: -(-len(learned) // most)]
        lines = [data.hex() for data in some if data]
        (GOLDEN / f"{part.name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    what, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    unpack(folder) if what == "unpack" else pack(folder, int((sys.argv[3:] or ["100"])[0]))
