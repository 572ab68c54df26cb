"""Write the federal holidays that business days leave out, as compact facts.

The `holidays` library knows them, but takes a second and 45 MB to import; the engine
reads the table and asks the library only for years that it does not hold.

Run: .venv/bin/python tools/generate_calendars.py
"""

import json
from pathlib import Path

from holidays.countries.united_states import UnitedStates

FIRST, LAST = 2020, 2049
TARGET = Path(__file__).parents[1] / "fhir_profiles" / "federal_holidays.json"


def main() -> None:
    """Write the table."""
    days = UnitedStates(years=range(FIRST, LAST + 1), observed=True)
    table = {
        "source": "5 U.S.C. 6103, as the Python library holidays computes it",
        "years": [FIRST, LAST],
        "days": {
            day.isoformat(): name
            for day, name in sorted(days.items())
            if day.weekday() < 5 and FIRST <= day.year <= LAST
        },
    }
    TARGET.write_text(json.dumps(table, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{TARGET}: {len(table['days'])} days")


if __name__ == "__main__":
    main()
