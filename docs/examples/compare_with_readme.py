#!/usr/bin/env python3
"""Checks that the README shows every program of docs/examples/ as it is compiled, in at most 40 lines each."""
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
readme = (root / "README.md").read_text()
failed = False
for path in sorted((root / "docs/examples").glob("*.cpp")):
    text = path.read_text()
    if text not in readme:
        print(f"README.md does not show {path.name} as it is", file=sys.stderr)
        failed = True
    if len(text.splitlines()) > 40:
        print(f"{path.name} has {len(text.splitlines())} lines, more than 40", file=sys.stderr)
        failed = True
sys.exit(failed)
