"""The store made anew from the journal and the records beside it is the same store."""

import json
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from segue.cli import app
from segue.pipeline.charts import Charts, Directory
from segue.pipeline.differences import differences
from segue.pipeline.rebuild import waiting_in
from segue.store.packing import pack, unpack
from segue.store.store import open_store
from tests.integration.test_api_statements import discharged, priming
from tests.stories.messages import adt
from tests.stories.s11 import messages
from tests.support.api import ROUTES, running
from tests.support.databases import PostgresServer
from tests.support.hub import Bench, TestClock, hub

S11 = messages()
OTHER = adt("A01", "2026-07-11 08:00", "89", mrn="555", visit="V555", shared=False)
MERGE = adt("A40", "2026-07-11 09:00", "90", extra=["MRG|555^^^HOSPA^MR"])


def test_messages_in_the_wrong_order_twice_and_a_merge_give_the_same_store(
    tmp_path: Path,
) -> None:
    with hub(tmp_path / "live", routes=ROUTES) as bench:
        told = [*S11.values(), OTHER, MERGE]
        bench.work(*reversed(told), *told)
        bench.work("not a message at all")
        result = bench.rebuilt(tmp_path / "anew")
        assert result.different == []
        assert result.entries == len(told) + 1, "what was sent twice came once"
        with hub(tmp_path / "anew") as anew, anew.hub.store.read() as reader:
            assert reader.entries_in("failed") == {len(told) + 1}


def test_nothing_is_sent_anew_but_what_was_waiting(tmp_path: Path) -> None:
    with running(tmp_path / "live", tmp_path) as api:
        discharged(api)
        assert api.post(priming(), client="pcpb").status_code == 200
        waiting = waiting_in(api.bench.hub.store.deliveries())
        assert api.bench.rebuilt(tmp_path / "silent").deliveries == 0
        result = api.bench.rebuilt(tmp_path / "anew", waiting)
        for place, wanted in (("silent", []), ("anew", waiting)):
            store = open_store(tmp_path / place, api.bench.clock)
            queued = waiting_in(store.deliveries())
            store.close()
            assert {(one.destination, one.form, one.what) for one in queued} == {
                (one.destination, one.form, one.what) for one in wanted
            }
        assert result.deliveries == len(queued) > 0


def test_a_worker_goes_on_where_the_old_store_stopped(tmp_path: Path) -> None:
    with hub(tmp_path / "live") as bench:
        bench.work(S11["A04"])
        bench.append(S11["A06"])
        result = bench.rebuilt(tmp_path / "anew")
        assert (result.entries, result.different) == (1, [])
        store = open_store(tmp_path / "anew", bench.clock)
        fresh = replace(bench.hub, store=store, charts=Charts(), directory=Directory(), numbers=[])
        Bench(fresh, bench.clock).work()
        bench.work()
        with bench.hub.store.read() as old, store.read() as new:
            assert differences(old, new) == []
            assert new.lane_cursors() == old.lane_cursors()
        store.close()


def test_what_the_journal_has_forgotten_comes_from_the_facts(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-05T13:42:10-04:00")
    with hub(tmp_path / "live", clock) as bench:
        bench.work(S11["A04"])
        clock.set("2026-07-10T15:30:00-04:00")
        bench.work(S11["A06"])
        assert bench.hub.journal.forget(clock.us - 1) == 1
        result = bench.rebuilt(tmp_path / "anew")
        assert (result.entries, result.missing, result.different) == (1, 1, [])


def test_what_clients_stored_is_found_by_its_elements_in_the_new_store(tmp_path: Path) -> None:
    with running(tmp_path / "live", tmp_path) as api:
        assert api.post(priming(), client="pcpb").status_code == 200
        found = {one["id"] for one in api.find("Condition", "code=E11.9")}
        assert api.bench.rebuilt(tmp_path / "anew").different == []
    with running(tmp_path / "anew", tmp_path) as anew:
        assert {one["id"] for one in anew.find("Condition", "code=E11.9")} == found != set()


def test_a_task_in_the_place_of_one_that_ended_is_no_difference(tmp_path: Path) -> None:
    stay = [
        adt("A01", "2026-07-01 08:00", "1", visit="V1"),
        adt("A03", "2026-07-04 08:00", "2", visit="V1", disposition="01"),
    ]
    death = adt("A03", "2026-07-05 08:00", "4", visit="V2", disposition="20")
    error = adt("A13", "2026-07-05 09:00", "5", visit="V2", occurred="2026-07-05 08:00")
    admission = adt("A01", "2026-07-05 06:00", "3", visit="V2")
    with hub(tmp_path / "died") as died, hub(tmp_path / "lived") as lived:
        died.work(*stay, admission, death)
        died.work(error)
        lived.work(*stay, admission, error, death)
        texts = [str(one.resources("Task")) for one in (died, lived)]
        assert [text.count("'renewed'") > 0 for text in texts] == [True, False]
        with died.hub.store.read() as old, lived.hub.store.read() as new:
            assert differences(old, new) == []


def test_a_difference_is_found_and_named(tmp_path: Path) -> None:
    with hub(tmp_path / "live") as bench:
        bench.work(S11["A04"])
        with bench.hub.store.database.write() as session:
            for number, body in session.rows(
                "SELECT v.id, v.body FROM version v JOIN resource r ON r.pk = v.resource "
                "WHERE r.type = 'Encounter'"
            ):
                other = pack(unpack(body).replace(b"in-progress", b"planned"))
                session.update("version", ("id",), ("body",), [(number, other)])
        (reference,) = bench.rebuilt(tmp_path / "anew").different
        assert reference.startswith("Encounter/")


def test_postgresql_is_made_anew_into_an_embedded_store(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with running(postgres.upgraded(), tmp_path) as api:
        discharged(api)
        assert api.post(priming(), client="pcpb").status_code == 200
        assert api.bench.rebuilt(tmp_path / "anew").different == []


def test_the_command_compares_and_says_so(tmp_path: Path) -> None:
    with hub(tmp_path / "data") as bench:
        bench.work(S11["A04"], S11["A06"])
    config = tmp_path / "segue.yaml"
    config.write_text(
        "version: 1\ndata_dir: ./data\nsites:\n  hospa:\n    authority: HOSPA\n"
        "    zone: America/New_York\n    system: urn:segue:authority:HOSPA\n"
        "  pcpb: {authority: PCPB}\n"
    )
    command = ["db", "rebuild", "--config", str(config), "--json"]
    ended = CliRunner().invoke(app, command)
    told = json.loads(ended.stdout)
    assert told["entries"] == 2
    assert ended.exit_code == (1 if told["different"] else 0)
    again = CliRunner().invoke(app, [*command, "--into", str(tmp_path / "anew")])
    assert json.loads(again.stdout) == told
    refused = CliRunner().invoke(app, [*command, "--into", str(tmp_path / "anew")])
    assert refused.exit_code == 1
    assert "name an empty place" in str(refused.exception)
