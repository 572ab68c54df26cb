"""What a commit and a journal entry cost: `python benchmarks/store.py [postgresql://…]`.

Each message: 5 resources with 37 index rows, one fact, person and visit state, two
deliveries. Prints CPU microseconds of this process and bytes on disk per message, for
resources that are new and for such that are changed (5 other index rows).
"""

# ruff: noqa: E402 - runs from a checkout

import gc
import hashlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "engine")]

from segue.model.changes import Cause, Head, SearchTerms, Write
from segue.model.deliveries import Delivery
from segue.model.identity import ResourceKey, stable_id
from segue.model.messages import Envelope, RawMessage
from segue.store.records import (
    Commit,
    FactRow,
    NewEntry,
    PersonWrite,
    Step,
    VisitRow,
)
from segue.store.store import Journal, Store, open_journal, open_store

MESSAGES = 6000
BATCH = 100
TYPES = ("Patient", "Encounter", "Condition", "Coverage", "Provenance")
TOKENS = (6, 9, 7, 5, 4)
draw = random.Random(7)


def body(type_: str, id_: str, person: int, version: int) -> str:
    patient = {"reference": f"Patient/{stable_id('Patient', str(person))}"}
    coding = [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "code": draw.choice(["IMP", "EMER", "OBSENC"]),
            "display": draw.choice(["inpatient encounter", "emergency", "observation"]),
        }
    ]
    resource = {
        "id": id_,
        "resourceType": type_,
        "identifier": [
            {
                "system": "urn:oid:2.16.840.1.113883.19.5",
                "type": {
                    "coding": [
                        {
                            "code": "VN",
                            "system": "http://terminology.hl7.org/CodeSystem/v2-0203",
                        }
                    ]
                },
                "value": f"V{draw.randrange(10**7)}",
            }
        ],
        "status": "in-progress" if version == 1 else "finished",
        "class": coding[0],
        "code": {"coding": coding, "text": f"finding {draw.randrange(10**5)}"},
        "subject": patient,
        "name": [{"family": f"Name{draw.randrange(10**4)}", "given": [f"G{draw.randrange(999)}"]}],
        "address": [
            {
                "city": f"City{draw.randrange(500)}",
                "country": "USA",
                "line": [f"{draw.randrange(9999)} Main St"],
                "postalCode": f"{draw.randrange(99999):05}",
                "state": "NY",
            }
        ],
        "period": {"start": f"2026-07-{draw.randrange(1, 29):02}T13:{draw.randrange(60):02}:00Z"},
        "participant": [
            {
                "individual": {
                    "display": f"Doctor {draw.randrange(300)}",
                    "reference": f"Practitioner/{stable_id('P', str(draw.randrange(300)))}",
                },
                "type": [
                    {
                        "coding": [
                            {
                                "code": "ATND",
                                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                            }
                        ]
                    }
                ],
            }
        ],
    }
    return json.dumps(resource, separators=(",", ":"), sort_keys=True)


def number(*parts: object) -> int:
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def terms(type_: str, count: int, person: int, n: int, version: int) -> SearchTerms:
    status = number(type_, "status", version)
    tokens = [status, number(type_, "patient", person), number(type_, "identifier", n)]
    tokens += [number(type_, "code", k, draw.randrange(20)) for k in range(count - 3)]
    start = 1_780_000_000_000_000 + draw.randrange(10**12)
    strings = (
        ((number(type_, "family"), f"name{n % 5000}"), (number(type_, "given"), f"g{n % 999}"))
        if type_ == "Patient"
        else ()
    )
    return SearchTerms(
        tuple(sorted(set(tokens))), ((number(type_, "date"), start, start + 1),), strings
    )


def messages(
    store: Store, version: int, heads: dict[int, list[Head]], count: int
) -> list[tuple[Step, PersonWrite, VisitRow, str]]:
    made = []
    pks = iter(store.new_pk(6 * count)) if version == 1 else iter(())
    for n in range(count):
        old = heads.get(n)
        person = old[0].owner if old else next(pks)
        assert person is not None
        writes = []
        for place, (type_, tokens) in enumerate(zip(TYPES, TOKENS, strict=True)):
            id_ = stable_id(type_, str(n))
            base = old[place] if old else None
            text = body(type_, id_, person, version)
            if base is None:
                found = terms(type_, tokens, person, n, version)
            else:
                kept = list(base.terms.tokens)
                kept[0] = number(type_, "changed", n)
                found = SearchTerms(tuple(sorted(kept)), base.terms.dates, base.terms.strings)
            content = hashlib.blake2b(text.encode(), digest_size=16).digest()
            writes.append(
                Write(
                    ResourceKey(type_, id_),
                    base.pk if base else next(pks),
                    version,
                    "fold",
                    text,
                    content,
                    content,
                    found,
                    base,
                    person,
                )
            )
        entry = n + 1 + (version - 1) * count
        fact = FactRow(
            stable_id("fact", str(entry)),
            entry,
            "message",
            f"HOSPA|{n}",
            f"HOSPA|V{n}",
            draw.randbytes(700),
            draw.randbytes(500),
        )
        deliveries = [
            Delivery(to, person, "fhir", f"{writes[1].key.reference}", version, str(entry))
            for to in ("pcpb", "lab")
        ]
        step = Step(Cause("entry", str(entry), "hospa"), [fact], writes, deliveries)
        state = draw.randbytes(900)
        made.append(
            (
                step,
                PersonWrite(person, f"HOSPA|{n}", version - 1, state),
                VisitRow(f"HOSPA|V{n}", person, draw.randbytes(700)),
                f"HOSPA|{n}",
            )
        )
        heads[n] = [write.head() for write in writes]
    return made


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def report(what: str, cpu: float, wall: float, size: int, count: int = MESSAGES) -> None:
    print(
        f"{what:34} {cpu / count * 1e6:7.0f} µs CPU  {wall / count * 1e6:7.0f} µs wall"
        f"  {size / count:7.0f} bytes per message"
    )


def run(where: str | Path, size: Callable[[], int], name: str) -> None:
    gc.set_threshold(100_000, 50, 50)
    store = open_store(where, lambda: datetime.now(UTC))
    journal: Journal = open_journal(where)
    before = size()
    raw = [draw.randbytes(450).hex().encode()[:900] + b"PID|||" * 50 for _ in range(MESSAGES)]
    entries = [
        NewEntry(
            RawMessage(text, "hospa-adt", 1_780_000_000_000_000 + n),
            Envelope(
                "ADT|HOSPA", f"HA{n:07}", "A01", hashlib.sha256(text).hexdigest(), "hospa", n % 64
            ),
            b"MSH|^~\\&|SEGUE|SEGUE|ADT|HOSPA|20260705134200||ACK^A01|1|P|2.5.1\rMSA|AA|HA1\r",
            "AA",
        )
        for n, text in enumerate(raw)
    ]

    def receive() -> None:
        for start in range(0, MESSAGES, 50):
            journal.append(entries[start : start + 50])

    cpu, wall = clocked(receive)
    after = size()
    report(f"{name} journal, batches of 50", cpu, wall, after - before)

    heads: dict[int, list[Head]] = {}
    for version, title in ((1, "new"), (2, "changed")):
        made = messages(store, version, heads, MESSAGES)
        before = size()

        def write(made: list = made, version: int = version) -> None:
            for start in range(0, MESSAGES, BATCH):
                part = made[start : start + BATCH]
                store.commit(
                    Commit(
                        persons=[person for _, person, _, _ in part],
                        visits=[visit for _, _, visit, _ in part],
                        identities=[(key, p.pk) for _, p, _, key in part] if version == 1 else [],
                        steps=[step for step, _, _, _ in part],
                    )
                )

        cpu, wall = clocked(write)
        report(f"{name} commit, {title}, batches of {BATCH}", cpu, wall, size() - before)
    people = [head[0].owner for head in heads.values() if head[0].owner]

    def look() -> None:
        for start in range(0, MESSAGES, BATCH):
            with store.read() as reader:
                part = people[start : start + BATCH]
                reader.people.by_identity([f"HOSPA|{n}" for n in range(start, start + BATCH)])
                reader.people.visits_of(part)
                reader.heads_of(part)

    cpu, wall = clocked(look)
    report(f"{name} read persons, visits, heads", cpu, wall, 0)
    store.close()
    journal.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def size() -> int:
            import sqlite3

            for file in folder.glob("*.db"):
                connection = sqlite3.connect(file)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.close()
            return sum(file.stat().st_size for file in folder.glob("*.db"))

        run(folder, size, "sqlite")
    for url in sys.argv[1:]:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:

            def pg_size(connection: psycopg.Connection = connection) -> int:
                found = connection.execute("SELECT pg_database_size(current_database())")
                row = found.fetchone()
                return int(row[0]) if row else 0

            run(url, pg_size, "postgresql")


if __name__ == "__main__":
    main()
