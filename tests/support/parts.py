"""Runs the parts of `make test` one after the other and prints the seconds of each.

All parts run even if one fails, so that one run shows everything that is wrong.
"""

import subprocess
import sys
import time


def main(parts: list[str]) -> int:
    results: list[tuple[str, float, int]] = []
    for part in parts:
        print(f"── {part} ", "─" * (70 - len(part)), flush=True)
        begin = time.monotonic()
        code = subprocess.run(["make", "--no-print-directory", part], check=False).returncode
        results.append((part, time.monotonic() - begin, code))
    print()
    for part, seconds, code in results:
        print(f"{part:12} {seconds:7.1f} s  {'ok' if code == 0 else 'FAILED'}")
    failed = sum(1 for _, _, code in results if code)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
