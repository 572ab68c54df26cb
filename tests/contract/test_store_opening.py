"""Opening, migrating and waking, on both databases."""

import random
import sqlite3
import threading
import time
from importlib import resources
from pathlib import Path

import pytest

from segue.store.database import (
    DataDirectoryInUseError,
    DataDirectoryLock,
    WriteLock,
    checkpoint,
    open_database,
)
from segue.store.migrate import REVISION, create, upgrade
from segue.store.packing import pack
from segue.store.postgres import PostgresSession
from segue.store.records import Commit, StoreUnavailableError
from segue.store.sqlite import SqliteSession
from segue.store.store import open_bell
from tests.support.databases import PostgresServer, empty
from tests.support.rows import commit_one, deliver, entry, opened, opened_journal, step, write
from tools.schema import script

Where = str | Path


def test_every_commit_is_fsynced(tmp_path: Path) -> None:
    with opened(tmp_path), opened_journal(tmp_path):
        for part in ("journal", "store"):
            session = SqliteSession(str(tmp_path / f"{part}.db"))
            assert session.row("PRAGMA synchronous") == (2,)
            assert session.row("PRAGMA journal_mode") == ("wal",)
            assert session.row("PRAGMA page_size") == (8192,)
            session.close()


def test_a_database_that_would_lose_commits_is_refused(postgres_url: str) -> None:
    import psycopg

    options = f"{postgres_url}&options=-csynchronous_commit%3Doff"
    with psycopg.connect(options) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with pytest.raises(RuntimeError, match="synchronous_commit"):
        PostgresSession(options)


def test_a_postgresql_database_without_our_schema_is_refused(postgres: PostgresServer) -> None:
    with pytest.raises(RuntimeError, match="segue db upgrade"):
        open_database(postgres.empty(), "store")


def test_a_database_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError):
        open_database(f"postgresql://postgres@/none?host={tmp_path}", "store")


def test_lost_connections_are_opened_anew(postgres_url: str) -> None:
    import psycopg

    empty(postgres_url)
    with opened(postgres_url) as store, opened_journal(postgres_url) as journal:
        commit_one(store, write(store, "Task/a"))
        journal.append([entry("a", "1")])
        with psycopg.connect(postgres_url, autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreUnavailableError):
            store.commit(Commit(steps=[step(1, write(store, "Task/b"))]))
        with pytest.raises(StoreUnavailableError):
            journal.append([entry("b", "2")])
        assert commit_one(store, write(store, "Task/b")).version == 1
        assert journal.append([entry("b", "2")])[0].entry == 2
        with store.read() as reader:
            assert reader.history.page("Task").total == 2


def test_a_full_disk_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    with opened_journal(tmp_path) as journal:
        journal.append([entry("a", "1")])
        with journal._database.write() as session:
            (pages,) = session.row("PRAGMA page_count")  # type: ignore[misc]
            session.row(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreUnavailableError, match="full"):
            journal.append([entry("x" * 4000 + str(n), str(n)) for n in range(2, 20)])
        assert journal.head() == 1
        with journal._database.write() as session:
            session.row("PRAGMA max_page_count = 100000")
        assert journal.append([entry("b", "2")])[0].entry == 2


def test_everything_is_there_after_opening_again(where: Where) -> None:
    with opened(where) as store, opened_journal(where) as journal:
        commit_one(store, write(store, "Task/a", "{1}"))
        journal.append([entry("a", "1")])
        used = store.new_pk(1)
    with opened(where) as store, opened_journal(where) as journal:
        with store.read() as reader:
            assert reader.read("Task", "a").body == "{1}"  # type: ignore[union-attr]
        assert journal.append([entry("a", "1")])[0].duplicate
        assert not set(store.new_pk(1)) & set(used)
        assert commit_one(store, write(store, "Task/b")).version == 1
        with store.read() as reader:
            assert reader.head_position()[0] == 2


def test_two_engines_do_not_share_a_data_directory(tmp_path: Path) -> None:
    first = DataDirectoryLock(tmp_path)
    with pytest.raises(DataDirectoryInUseError, match="another engine"):
        DataDirectoryLock(tmp_path)
    first.close()
    DataDirectoryLock(tmp_path).close()


def test_the_write_lock_lets_one_in_at_a_time_and_its_owner_again(tmp_path: Path) -> None:
    mine, other = WriteLock(tmp_path / "lock"), WriteLock(tmp_path / "lock")
    order = []

    def wait() -> None:
        with other:
            order.append("other")

    thread = threading.Thread(target=wait)
    with mine:
        with mine:
            thread.start()
        time.sleep(0.05)
        order.append("mine")
    thread.join()
    assert order == ["mine", "other"]
    mine.close()
    other.close()


def test_a_checkpoint_empties_the_log_while_others_read(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        body = random.Random(1).randbytes(50_000).hex()
        commit_one(store, write(store, "Task/a", body))
        size = (tmp_path / "store.db-wal").stat().st_size
        checkpoint(tmp_path, "store")
        commit_one(store, write(store, "Task/b"))
        assert (tmp_path / "store.db-wal").stat().st_size == size, "it starts anew"
        raw = (tmp_path / "store.db").read_bytes()
        packed = pack(body.encode())
        # In pages: one of these stretches lies within a page.
        assert any(packed[start : start + 2000] in raw for start in range(9000, 17_000, 2000))


@pytest.mark.parametrize("part", ["journal", "store"])
def test_the_scripts_of_an_embedded_store_are_those_of_the_tables(part: str) -> None:
    file = resources.files("segue.store").joinpath("schema", f"{part}.sql")
    assert file.read_text(encoding="utf-8") == script(part), "run python -m tools.schema"


@pytest.mark.parametrize("part", ["journal", "store"])
def test_a_fresh_embedded_schema_equals_a_migrated_one(tmp_path: Path, part: str) -> None:
    create(tmp_path / "fresh.db", part)  # type: ignore[arg-type]
    upgrade(tmp_path / "migrated.db", (part,))  # type: ignore[arg-type]
    assert schema(tmp_path / "fresh.db") == schema(tmp_path / "migrated.db")
    assert content(tmp_path / "fresh.db") == content(tmp_path / "migrated.db")


def schema(path: Path) -> list[tuple[str, str]]:
    """Tables and indexes as SQLite understood them, without the layout of the SQL."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = sorted((name, " ".join(sql.replace('"', "").split())) for name, sql in rows)
    connection.close()
    return [one for one in found if one[0] != "alembic_version"]


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    found = {
        name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=str)
        for name in names
    }
    connection.close()
    return found


def test_a_fresh_postgresql_schema_equals_a_migrated_one(postgres: PostgresServer) -> None:
    import psycopg

    queries = (
        "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name "
        "FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name <> 'alembic_version' ORDER BY 1, 2",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "ORDER BY 1",
        "SELECT version_num FROM alembic_version",
        "SELECT * FROM lease ORDER BY partition",
    )
    found = []
    for migrated in (False, True):
        url = postgres.empty()
        if migrated:
            upgrade(url)
        else:
            create(url, "journal", "store")
        with psycopg.connect(url) as connection:
            found.append([connection.execute(query.encode()).fetchall() for query in queries])
    assert found[0] == found[1]
    assert len(found[0][0]) > 80


def test_the_program_asks_for_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    import segue.store.migrate as migrate

    scripts = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations"))
    assert scripts.get_current_head() == REVISION


def test_who_waits_is_woken_by_another(where: Where) -> None:
    open_database(where, "store").close()
    waiting, ringing = open_bell(where), open_bell(where)
    try:
        assert not waiting.wait("outbox", 0.01)
        ringing.ring("journal")
        assert not waiting.wait("outbox", 0.01), "another channel"
        ringing.ring("outbox")
        ringing.ring("outbox")
        assert waiting.wait("outbox", 5)
        woken = []
        thread = threading.Thread(target=lambda: woken.append(waiting.wait("journal", 5)))
        thread.start()
        while not woken and thread.is_alive():
            ringing.ring("journal")
            time.sleep(0.01)
        thread.join()
        assert woken == [True]
    finally:
        waiting.close()
        ringing.close()


def test_a_data_directory_with_a_long_name_can_be_woken(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    waiting, ringing = open_bell(folder), open_bell(folder)
    waiting.wait("outbox", 0)
    ringing.ring("outbox")
    assert waiting.wait("outbox", 5)
    place = waiting._folder  # type: ignore[attr-defined]
    waiting.close()
    assert not place.exists()
    ringing.ring("outbox")
    ringing.close()


def test_a_commit_with_deliveries_rings_the_senders(where: Where) -> None:
    with opened(where) as store:
        bell = open_bell(where)
        bell.wait("outbox", 0)
        store.commit(Commit(steps=[step(1, deliveries=[deliver("lab", 1)])]))
        assert bell.wait("outbox", 5)
        bell.close()
