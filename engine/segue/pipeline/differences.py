"""Where the computed resources of two stores are not the same."""

from collections.abc import Iterable, Iterator

from segue.fhir.canonical import canonical_parts, hash_of, loads, renewals
from segue.fhir.references import walk_references
from segue.pipeline.compare import Resource, key_of
from segue.store.reader import Reader


def differences(old: Reader, new: Reader) -> list[str]:
    """`Type/id` of the computed resources that differ, or that only one store has.

    Both are compared in the canonical form, see `segue.fhir.canonical`.
    """
    before, after = _states(old), _states(new)
    return sorted(
        reference
        for reference in before.keys() | after.keys()
        if before.get(reference, b"") != after.get(reference, b"")
    )


def _states(reader: Reader) -> dict[str, bytes]:
    """Hash of the canonical form of each computed resource that counts for something."""
    states: dict[str, bytes] = {}
    renewed: dict[str, str] = {}
    for resource in _computed(reader):
        renewed |= renewals(resource)
        states |= _hashed([resource])
    if not renewed:
        return states
    # Tasks in the place of others are shown as those: with all that speaks of either.
    spoken_of = {f"Task/{one}" for pair in renewed.items() for one in pair}
    together = []
    for resource in _computed(reader):
        own = key_of(resource).reference
        named = (str(one["reference"]) for _, one in walk_references(resource))
        if own in spoken_of or not spoken_of.isdisjoint(named):
            together.append(resource)
            states.pop(own, None)
    return states | _hashed(together)


def _hashed(resources: Iterable[Resource]) -> dict[str, bytes]:
    return {
        key_of(resource).reference: hash_of(state.decode())
        for resource, state in canonical_parts(resources)
    }


def _computed(reader: Reader) -> Iterator[Resource]:
    after = 0
    while page := reader.current("fold", after):
        after = page[-1].pk
        for version in page:
            if version.body is not None:
                yield loads(version.body)
