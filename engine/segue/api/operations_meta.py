"""$meta, $meta-add and $meta-delete: profiles, tags and security labels.

Sources: https://hl7.org/fhir/R4/resource-operation-meta.html, -meta-add, -meta-delete
"""

from collections.abc import Mapping
from typing import Any

from segue.api import read
from segue.api.exchange import body_of
from segue.api.operations import Invocation
from segue.fhir.canonical import loads
from segue.fhir.outcomes import fhir_error
from segue.fhir.requests import Entry
from segue.pipeline.statements import write_all

LISTS = ("profile", "security", "tag")
"""What `$meta` sums up, and what can be added and taken away."""

Meta = dict[str, Any]


def meta(asked: Invocation) -> dict[str, Any]:
    """The meta of a resource; of a type or of all, each profile, label and tag in use."""
    if asked.level == "instance":
        return _answer(_stored(asked)["meta"])
    found: Meta = {}
    with asked.hub.store.read() as reader:
        for text in reader.metas(asked.type or None):
            found = added(found, loads(text + "}")["meta"])
    return _answer({name: found[name] for name in LISTS if name in found})


def meta_add(asked: Invocation) -> dict[str, Any]:
    """Add profiles, labels and tags to a resource: a new version of it."""
    return _changed(asked, added)


def meta_delete(asked: Invocation) -> dict[str, Any]:
    """Take profiles, labels and tags from a resource: a new version of it."""
    return _changed(asked, removed)


def added(known: Mapping[str, Any], more: Mapping[str, Any]) -> Meta:
    """A meta with the profiles, labels and tags of another, each once.

    >>> added({"profile": ["urn:a"]}, {"profile": ["urn:a", "urn:b"], "source": "urn:c"})
    {'profile': ['urn:a', 'urn:b']}
    """
    made = dict(known)
    for name in LISTS:
        have = list(made.get(name, ()))
        names = {_name(one) for one in have}
        have += [one for one in more.get(name, ()) if _name(one) not in names]
        if have:
            made[name] = have
    return made


def removed(known: Mapping[str, Any], less: Mapping[str, Any]) -> Meta:
    """A meta without the profiles, labels and tags of another.

    >>> removed({"tag": [{"code": "a"}, {"code": "b"}]}, {"tag": [{"code": "a"}]})
    {'tag': [{'code': 'b'}]}
    """
    made = dict(known)
    for name in LISTS:
        gone = {_name(one) for one in less.get(name, ())}
        kept = [one for one in made.get(name, ()) if _name(one) not in gone]
        made.pop(name, None)
        if kept:
            made[name] = kept
    return made


def _name(one: Any) -> tuple[str, str]:
    """Codings are told apart by system and code, profiles by their URL."""
    if isinstance(one, Mapping):
        return str(one.get("system", "")), str(one.get("code", ""))
    return "", str(one)


def _changed(asked: Invocation, change: Any) -> dict[str, Any]:
    sent = asked.value("meta")
    if not isinstance(sent, Mapping) or not all(
        isinstance(sent.get(name, []), list) for name in LISTS
    ):
        raise fhir_error("incorrect", "required", "send Parameters with a valueMeta `meta`", "meta")
    resource = _stored(asked)
    version = resource["meta"]["versionId"]
    resource["meta"] = change(resource["meta"], sent)
    entry = Entry(
        0, "PUT", asked.type, asked.id, (), "", resource, None, f'W/"{version}"', None, None
    )
    write_all(asked.hub, asked.speaker, [entry], base=asked.root, bundle=False)
    return _answer(_stored(asked)["meta"])


def _stored(asked: Invocation) -> dict[str, Any]:
    with asked.hub.store.read() as reader:
        found: dict[str, Any] = loads(body_of(read.current(reader, asked.type, asked.id)))
    return found


def _answer(found: Meta) -> dict[str, Any]:
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "return", "valueMeta": found}] if found else [],
    }
