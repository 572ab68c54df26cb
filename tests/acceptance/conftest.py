"""The databases that the stories are told on."""

from collections.abc import Iterator

import pytest

from tests.support.databases import postgres

__all__ = ["postgres"]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Tell the stories of one engine in the order of their year, whatever is shuffled."""
    written = {item: place for place, item in enumerate(items)}
    yield
    told = [item for item in items if getattr(_module(item), "IN_ORDER", False)]
    places = [place for place, item in enumerate(items) if item in set(told)]
    for place, item in zip(places, sorted(told, key=written.__getitem__), strict=True):
        items[place] = item


def _module(item: pytest.Item) -> object:
    return getattr(item, "module", None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """SEGUE_DATABASE_URL of an empty database; None is the embedded one."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres").upgraded()
    return url
