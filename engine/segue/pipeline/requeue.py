"""What waits for a code, once a table has it: replayed, and the analyst's Task completed."""

from collections.abc import Iterable, Iterator
from typing import Any

import structlog

from segue.fhir.canonical import loads
from segue.mapping.tables import WANTED
from segue.pipeline.compare import Resource
from segue.pipeline.hub import Hub
from segue.pipeline.record import register
from segue.pipeline.replay import replay
from segue.pipeline.wanted import SYSTEM
from segue.store.reader import Reader
from segue.store.records import StoredVersion

log = structlog.get_logger(__name__)


def requeue(hub: Hub) -> int:
    """Replay what waits for a code, and complete the Tasks whose code is there now.

    To be called when the mapping has changed. What still lacks its code stays parked.

    Returns:
        How many entries were replayed.
    """
    with hub.store.read() as reader:
        parked = reader.issues_of(reader.entries_in("parked"))
        open_ = list(_open(_directory(reader), hub)) if parked else []
    numbers = [n for n, issues in parked.items() if any(i.code == WANTED for i in issues)]
    if not numbers:
        return 0
    replayed = replay(hub, numbers).entries
    register(hub, "mapping", open_)
    log.info("codes.added", tasks=len(open_), replayed=replayed)
    return replayed


def _directory(reader: Reader) -> Iterator[StoredVersion]:
    after = 0
    while page := reader.current("directory", after):
        yield from page
        after = page[-1].pk


def _open(current: Iterable[Any], hub: Hub) -> Iterator[Resource]:
    """The open Tasks whose code a table has by now, completed."""
    for version in current:
        if version.key.type != "Task" or not version.body:
            continue
        resource = loads(version.body)
        if resource.get("code", {}).get("coding", [{}])[0].get("system") != SYSTEM:
            continue
        said = [one["valueString"] for one in resource["input"]]
        site, name, code = said[:3]
        table = hub.mapping_for(site).tables.get(name)
        if resource["status"] != "requested" or table is None:
            continue
        if not {code, code.upper()} & table.codes.keys():
            continue
        left = {name: value for name, value in resource.items() if name != "meta"}
        yield {**left, "status": "completed"}
