"""Write the SQL that makes an empty embedded store, from `segue.store.tables`.

    python -m tools.schema

A start then needs no SQLAlchemy; a test compares the files with the tables.
"""

from pathlib import Path

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from segue.store.tables import TABLES

FOLDER = Path(__file__).parents[1] / "engine" / "segue" / "store" / "schema"


def script(part: str) -> str:
    """The statements that make the tables and indexes of a part."""
    dialect = sqlite.dialect()
    made = []
    for table in TABLES[part].sorted_tables:
        made.append(CreateTable(table).compile(dialect=dialect))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made += [CreateIndex(index).compile(dialect=dialect) for index in indexes]
    statements = [str(one).strip().replace("\t", "    ") for one in made]
    lines = ";\n\n".join(statements).splitlines()
    return "\n".join(line.rstrip() for line in lines) + ";\n"


def main() -> None:
    """Write both files."""
    for part in TABLES:
        (FOLDER / f"{part}.sql").write_text(script(part), encoding="utf-8")


if __name__ == "__main__":
    main()
