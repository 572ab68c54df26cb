"""ValueSet/$expand and ConceptMap/$translate, over what is shipped and what is stored.

Sources: https://hl7.org/fhir/R4/valueset-operation-expand.html,
https://hl7.org/fhir/R4/conceptmap-operation-translate.html
"""

from collections.abc import Iterable, Mapping
from typing import Any

from segue.api import definitions, read
from segue.api.operations import Invocation
from segue.fhir.canonical import loads
from segue.fhir.expansion import Expander, Member
from segue.fhir.outcomes import fhir_error
from segue.fhir.translation import Match, translate
from segue.model.identity import stable_id
from segue.model.instants import rfc3339
from segue.pipeline.definitions import own

Resource = Mapping[str, Any]

_LONGEST = 10_000


def expand(asked: Invocation) -> dict[str, Any]:
    """The codes of a value set: by id, `url` or `valueSet`; `filter`, `offset`, `count`.

    Raises:
        FhirError: 400, 404; 422 where the definition cannot be expanded here.
    """
    with asked.hub.store.read() as reader:
        expander = Expander(asked.hub.gate.definitions, definitions.finder(reader))
        made: dict[str, Any] = {"resourceType": "ValueSet", "status": "active"}
        if asked.level == "instance":
            found = loads(read.current(reader, "ValueSet", asked.id).body or "{}")
            members = expander.of(found)
            made = {k: v for k, v in found.items() if k not in ("text", "compose", "meta")}
        elif (sent := asked.value("valueSet")) is not None:
            if not isinstance(sent, Mapping) or sent.get("resourceType") != "ValueSet":
                raise fhir_error("incorrect", "value", "valueSet: send a ValueSet", "valueSet")
            members = expander.of(sent)
            made |= {k: sent[k] for k in ("url", "version", "name", "title") if k in sent}
        else:
            url = asked.text("url")
            if not url:
                text = "name the value set: by id, `url` or `valueSet`"
                raise fhir_error("incorrect", "required", text, "url")
            known = expander.of_url(url)
            if known is None:
                text = f"the value set {url} is not known here: store it as a ValueSet"
                raise fhir_error("not-found", "not-found", text, "url")
            members, made["url"] = known, url.partition("|")[0]
    found_by = _filtered(members.values(), asked.text("filter") or "")
    offset, count = _number(asked, "offset") or 0, _number(asked, "count")
    shown = found_by[offset : offset + (_LONGEST if count is None else min(count, _LONGEST))]
    expansion: dict[str, Any] = {
        "identifier": "urn:segue:expansion:" + stable_id("ValueSet", *(str(m) for m in found_by)),
        "timestamp": rfc3339(asked.hub.now()),
        "total": len(found_by),
    }
    if offset:
        expansion["offset"] = offset
    if shown:
        expansion["contains"] = [_contained(one) for one in shown]
    return {**made, "expansion": expansion}


def _filtered(members: Iterable[Member], text: str) -> list[Member]:
    """Those in whose code or display a text stands."""
    wanted = text.casefold()
    return [
        one for one in members if wanted in one.code.casefold() or wanted in one.display.casefold()
    ]


def _contained(member: Member) -> dict[str, str]:
    shown = {"system": member.system, "code": member.code, "display": member.display}
    return {name: value for name, value in shown.items() if value}


def _number(asked: Invocation, name: str) -> int | None:
    value = asked.value(name)
    return None if value is None else read.number({name: str(value)}, name)


def translate_code(asked: Invocation) -> dict[str, Any]:
    """What a code is elsewhere: `code` and `system`, `coding` or `codeableConcept`.

    Raises:
        FhirError: 400, 404.
    """
    codes = _codes(asked)
    if not codes:
        text = "send code and system, a coding, or a codeableConcept"
        raise fhir_error("incorrect", "required", text)
    target = asked.text("targetsystem") or asked.text("targetSystem") or ""
    reverse = asked.value("reverse") in (True, "true")
    found: list[Match] = []
    maps = _maps(asked)
    for system, code in codes:
        found += translate(maps, system, code, target=target, reverse=reverse)
    held = any(one.holds for one in found)
    parameters: list[dict[str, Any]] = [{"name": "result", "valueBoolean": held}]
    if not held:
        parameters.append({"name": "message", "valueString": "no map translates this code"})
    return {
        "resourceType": "Parameters",
        "parameter": [*parameters, *(_matched(one) for one in found)],
    }


def _matched(match: Match) -> dict[str, Any]:
    part: list[dict[str, Any]] = [{"name": "equivalence", "valueCode": match.equivalence}]
    if match.concept:
        part.append({"name": "concept", "valueCoding": match.concept})
    if match.source:
        part.append({"name": "source", "valueUri": match.source})
    return {"name": "match", "part": part}


def _codes(asked: Invocation) -> list[tuple[str, str]]:
    """(system, code) of what is to be translated."""
    code = asked.text("code")
    if code is not None:
        return [(asked.text("system") or "", code)]
    concept = asked.value("codeableConcept") or {"coding": asked.values("coding")}
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    if not isinstance(codings, list) or not all(isinstance(one, Mapping) for one in codings):
        raise fhir_error("incorrect", "value", "a coding is an object: send it in a body", "coding")
    return [(str(one.get("system", "")), str(one["code"])) for one in codings if one.get("code")]


def _maps(asked: Invocation) -> list[Resource]:
    """The ConceptMaps that are asked: one by id, `url` or `conceptMap`; else all.

    Raises:
        FhirError: 400, 404.
    """
    hub = asked.hub
    url, sent = asked.text("url"), asked.value("conceptMap")
    if isinstance(sent, Mapping):
        return [sent]
    with hub.store.read() as reader:
        if asked.level == "instance":
            return [definitions.named(reader, hub, "ConceptMap", asked.id)]
        if url is None:
            # As they are in this moment; the stored copy may be of a moment ago.
            ours = {(one["id"], one["url"]): one for one in own(hub, "ConceptMap")}
            others = definitions.all_stored(reader, "ConceptMap")
            return [*(o for o in others if (o["id"], o.get("url")) not in ours), *ours.values()]
        found = definitions.by_url(reader, hub, "ConceptMap", url)
    if found is None:
        raise fhir_error("not-found", "not-found", f"there is no ConceptMap {url} here", "url")
    return [found]
