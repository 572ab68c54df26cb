"""Messages that the tests of this folder share; all names and numbers are invented."""

from pathlib import Path

import pytest

ADMIT = (
    "MSH|^~\\&|ADT1|HOSPA|SEGUE|HIE|20260705134500-0400||ADT^A01^ADT_A01|HA000102|P|2.5.1\r"
    "EVN|A01|20260705134400||||20260705134200\r"
    "PID|1||100234^^^HOSPA&1.2.3&ISO^MR~999-99-9999^^^SSA^SS||DOE^JANE^Q||19480312|F\r"
    "NK1|1|DOE^JOHN|SPO\r"
    'PV1|1|I|4W^401^A|||""|99^HIBBERT^JULIUS||||||||||||V78421^^^HOSPA^VN\r'
    "OBX|1|TX|8302-2^Height||tall \\T\\ thin\r"
)

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "hl7v2"


def shared_messages() -> list[Path]:
    """The public messages beside the checkout; skips the test where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"no shared test data at {DATA}")
    return sorted(p for p in DATA.rglob("*") if p.suffix in (".hl7", ".hl7v2"))
