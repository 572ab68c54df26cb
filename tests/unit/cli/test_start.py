import subprocess
import sys

HEAVY = ("segue.mapping", "segue.care", "segue.store", "segue.pipeline", "sqlalchemy", "structlog")
"""What only commands that need it may import: together they take a second."""


def test_the_command_line_is_there_before_what_only_some_commands_need() -> None:
    asked = f"import sys, segue.cli; print([one for one in {HEAVY} if one in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"
