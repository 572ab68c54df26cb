"""`python -m segue.bootstrap.part NAME PIPE [CONFIG]`: one process of a running engine.

Only `segue run` starts it. It has an entry of its own because every millisecond of
imports counts once per process at each start.
"""

import signal
import sys
from pathlib import Path


def main(name: str, pipe: int, config: Path | None) -> int:
    """Run a part until the pipe closes; the exit code."""
    # structlog would import rich for consoles: a third of the start-up. Parts log JSON.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from segue.bootstrap.serve import serve
    from segue.settings import load

    # Signals belong to the parent; the pipe says when to stop.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return serve(load(config), name, pipe)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] else None))
