"""What is done to a store as a whole: a new schema, a new index, the store made anew."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from segue.bootstrap.hub import build_hub
from segue.bootstrap.stores import Unreachable, first_line, opened, search_marks, shared
from segue.pipeline.rebuild import Rebuilt, rebuild, waiting_in
from segue.settings.sections import Settings
from segue.store.migrate import REVISION, is_postgres, upgrade
from segue.store.reindex import reindex, states
from segue.store.store import open_store


class NotWritten(Exception):  # noqa: N818
    """No engine has started yet with a search parameter that is to be indexed."""


def upgrade_schema(settings: Settings) -> dict[str, str]:
    """Create or upgrade the schema of both parts; part to revision.

    Raises:
        Unreachable: the database does not answer.
    """
    try:
        if shared(settings):
            upgrade(settings.database)
        else:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            upgrade(settings.data_dir / "journal.db", ["journal"])
            upgrade(settings.data_dir / "store.db", ["store"])
    except Exception as error:
        raise Unreachable(
            f"the database cannot be upgraded: {type(error).__name__}: {first_line(error)}"
        ) from error
    return {"journal": REVISION, "store": REVISION}


def reindex_store(
    settings: Settings, total: Callable[[int], object], advance: Callable[[int], object]
) -> dict[str, int]:
    """Make the rows of the site's search parameters for all that is stored.

    Args:
        total: told how many resources there are; advance: how many more are done.

    Returns:
        `parameters` that are now in the index, and `resources` that were read for them.

    Raises:
        Unreachable: the store does not answer.
        NotWritten: start the engine with the parameters first.
    """
    with opened(settings) as found:
        marks = search_marks()
        unknown = sorted(set(marks) - states(found.store.database).keys())
        if unknown:
            _, type_, code, _ = unknown[0].split(":")
            raise NotWritten(
                f"{type_}:{code}: the engine does not write it yet: start the engine anew with "
                "this configuration, then run `segue db reindex`"
            )
        count = reindex(found.store.database, marks, total, advance)
    return {"parameters": len(marks), "resources": count}


def rebuild_store(
    settings: Settings,
    into: str | None,
    total: Callable[[int], object],
    advance: Callable[[int], object],
) -> Rebuilt:
    """Make the store anew from its records, in another place, and compare.

    Args:
        into: directory, or `postgresql://` URL with the schema in it; None: a
            temporary directory.
        total: told how many journal entries there are; advance: how many more are done.

    Raises:
        Unreachable: one of the stores does not answer, or the new place is not empty.
    """
    with ExitStack() as stack:
        found = stack.enter_context(opened(settings))
        place = into or stack.enter_context(TemporaryDirectory(prefix="segue-rebuild-"))
        if not is_postgres(place):
            Path(place).mkdir(parents=True, exist_ok=True)
        try:
            store = open_store(place if is_postgres(place) else Path(place), found.clock)
        except (OSError, RuntimeError) as error:
            raise Unreachable(f"{place}: {error}") from error
        stack.callback(store.close)
        with store.read() as reader:
            if reader.head_position()[0]:
                raise Unreachable(f"{place}: there is a store already: name an empty place")
        total(found.journal.head())
        hub = build_hub(settings, replace(found, store=store))
        old = stack.enter_context(found.store.read())
        return rebuild(old, hub, waiting=waiting_in(found.deliveries), advance=advance)
