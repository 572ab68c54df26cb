"""A notification of an admission, discharge or transfer, read as the fact that an ADT is.

The message Bundle of Da Vinci Unsolicited Notifications: a MessageHeader whose event says
what happened, its focus the Encounter, and what that refers to. Identities, visit and
ids are those that a message of HL7 v2 with the same numbers gives.

Source: http://hl7.org/fhir/us/davinci-alerts, https://hl7.org/fhir/R4/messaging.html
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from segue.care.consent import labels
from segue.care.dispositions import STATUS_OF
from segue.fhir.canonical import canonical_json, hash_of
from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.references import rewrite
from segue.fhir.vocabulary import DISCHARGE_DISPOSITION, NPI, NUBC_DISCHARGE, PARTICIPATION, V2
from segue.mapping.context import SiteRules
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id
from segue.model.instants import Moment, microseconds
from segue.pipeline.demographics import details
from segue.pipeline.identities import Authorities, elements_of, identify, visit_keys

EVENT_SYSTEM: Final = "http://hl7.org/fhir/us/davinci-alerts/CodeSystem/notification-event"
OWN_SYSTEM: Final = "urn:segue:notice"
"""Events that the guide has no code for: its binding may be extended."""

EVENTS: Final[dict[tuple[str, str], str]] = {
    (EVENT_SYSTEM, "notification-admit"): "A01",
    (EVENT_SYSTEM, "notification-transfer"): "A02",
    (EVENT_SYSTEM, "notification-discharge"): "A03",
    (OWN_SYSTEM, "admit-cancelled"): "A11",
    (OWN_SYSTEM, "discharge-cancelled"): "A13",
}
"""Event of a MessageHeader to the trigger event that says the same."""

_INPATIENT = frozenset({"IMP", "ACUTE", "NONAC", "OBSENC", "SS"})
_V2_CLASS = {"IMP": "I", "ACUTE": "I", "EMER": "E", "AMB": "O", "PRENC": "P"}
_NUBC = frozenset(
    {NUBC_DISCHARGE, V2 + "0112", "http://terminology.hl7.org/CodeSystem/nubc-UB92"}
)  # fmt: skip
_PATIENTS = frozenset({"subject", "patient", "beneficiary"})
_COMPUTED = frozenset(
    {"resourceType", "id", "meta", "text", "status", "statusHistory", "classHistory", "period"}
    | {"subject", "diagnosis", "episodeOfCare", "hospitalization", "partOf"}
)
_DIRECTORY = frozenset({"Organization", "Location", "Practitioner", "PractitionerRole"})
_ATTENDING = {"ATND": "attending", "ADM": "admitting", "REF": "referring", "CON": "consulting"}

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alert:
    """What a message says.

    Attributes:
        header: its MessageHeader.
        fact: what happened. directory: people, organizations and places that it names.
    """

    header: Resource
    fact: Fact
    directory: list[Fragment]


class Anyone(Authorities):
    """Identifier systems of the known authorities; an unknown one is its own authority."""

    def of(self, system: str) -> str | None:
        """The authority of an identifier system; None where there is no system."""
        return super().of(system) or system or None


def read_alert(
    bundle: Mapping[str, Any],
    source: str,
    site: SiteRules | None,
    authorities: Anyone,
    never: Collection[str],
    received: int,
    *,
    history: bool = False,
) -> Alert:
    """Read a message Bundle.

    Args:
        bundle: valid FHIR.
        source: who speaks; site: its rules, None where it has none.
        never: identifier types that never identify.
        received: µs of its arrival.

    Raises:
        FhirError: 400 for what is no message, 422 for one that cannot be used.
    """
    return _Reader(bundle, source, site, authorities, received, history).alert(never)


class _Reader:
    def __init__(
        self,
        bundle: Mapping[str, Any],
        source: str,
        site: SiteRules | None,
        authorities: Anyone,
        received: int,
        history: bool,
    ) -> None:
        self.bundle, self.source, self.site = bundle, source, site
        self.authorities, self.received, self.history = authorities, received, history
        self.entries: dict[str, Resource] = {}
        for entry in bundle.get("entry", ()):
            resource = entry.get("resource") or {}
            for name in (
                entry.get("fullUrl"),
                f"{resource.get('resourceType')}/{resource.get('id')}",
            ):
                if name:
                    self.entries.setdefault(name, resource)

    def alert(self, never: Collection[str]) -> Alert:
        header = self._header()
        event = self._event(header)
        encounter = self._focus(header)
        patient = self._at(encounter.get("subject"), "Patient", "Encounter.subject")
        own = self.site.authority if self.site else ""
        links_by = self.site.links_by if self.site else ("MR", "PI")
        identity = identify(patient, self.authorities, own, links_by, never)
        if identity is None:
            raise _unusable("required", "Patient.identifier", "nothing here identifies the patient")
        sent = self._moment(self.bundle.get("timestamp")) or Moment("", self.received)
        visit = self._visit(encounter, own, identity.authority)
        period = encounter.get("period") or {}
        admitted, left = self._moment(period.get("start")), self._moment(period.get("end"))
        if event == "A01" and _code(encounter.get("class")) not in _INPATIENT:
            event = "A04"
        if event == "A03" and left is None:
            raise _unusable("required", "Encounter.period.end", "a discharge has an end")
        occurred = self._occurred(event, encounter, admitted, left) or sent
        directory, links = self._directory()
        elements = elements_of(patient)
        fact = Fact(
            id=stable_id("Fact", self.source, str(header.get("id", "")), self._digest()),
            site=self.source,
            authority=identity.authority,
            control_id=str(header.get("id", "")),
            digest=self._digest(),
            event=event,
            occurred=occurred,
            recorded=sent,
            sent=sent,
            received=self.received,
            identity=identity.key,
            links=list(identity.links),
            targets={"A11": admitted, "A13": left}.get(event),
            visit=visit,
            about_visit=True,
            person=[
                Fragment(
                    "Patient",
                    stable_id("Patient", identity.key),
                    "person",
                    rewrite(elements, links),
                ),
                *self._coverages(identity.key, links),
            ],
            details=details(elements),
            history=self.history,
            labels=sorted(
                {one for resource in self.entries.values() for one in labels(resource)}
                | labels(self.bundle)
            ),
        )
        fact.stay = [*self._stay(encounter, visit, links)]
        self._detail(fact, event, encounter, patient, admitted, left)
        return Alert(header, fact, directory)

    def _digest(self) -> str:
        return hash_of(canonical_json(dict(self.bundle))).hex()

    # --- the message ---------------------------------------------------------------------

    def _header(self) -> Resource:
        entries = self.bundle.get("entry") or [{}]
        first = entries[0].get("resource") or {}
        if self.bundle.get("type") != "message" or first.get("resourceType") != "MessageHeader":
            raise fhir_error(
                "incorrect",
                "structure",
                "send a Bundle of type message that begins with a MessageHeader",
                "Bundle.type",
            )
        return dict(first)

    def _event(self, header: Resource) -> str:
        coding = header.get("eventCoding") or {}
        event = EVENTS.get((str(coding.get("system")), str(coding.get("code"))))
        if event is None:
            known = ", ".join(code for _, code in EVENTS)
            text = f"the event {coding.get('code', header.get('eventUri'))} is none of {known}"
            raise _unusable("not-supported", "MessageHeader.event", text)
        return event

    def _focus(self, header: Resource) -> Resource:
        for reference in header.get("focus", ()):
            found = self.entries.get(str(reference.get("reference")))
            if found is not None and found.get("resourceType") == "Encounter":
                return found
        text = "the focus is an Encounter of the Bundle"
        raise _unusable("required", "MessageHeader.focus", text)

    def _at(self, reference: Any, type_: str, where: str) -> Resource:
        found = self.entries.get(str((reference or {}).get("reference")))
        if found is None or found.get("resourceType") != type_:
            raise _unusable("required", where, f"the {type_} is to be in the Bundle")
        return found

    def _moment(self, text: Any) -> Moment | None:
        """A FHIR dateTime; None for a date alone, which orders nothing."""
        if not isinstance(text, str) or "T" not in text:
            return None
        try:
            return Moment(text, microseconds(datetime.fromisoformat(text)))
        except ValueError:
            return None

    def _occurred(
        self, event: str, encounter: Resource, admitted: Moment | None, left: Moment | None
    ) -> Moment | None:
        if event in ("A01", "A04"):
            return admitted
        if event == "A03":
            return left
        if event == "A02":
            starts = [
                at
                for one in encounter.get("location", ())
                if (at := self._moment((one.get("period") or {}).get("start"))) is not None
            ]
            return max(starts, key=lambda at: at.us, default=None)
        return None

    # --- the visit -----------------------------------------------------------------------

    def _visit(self, encounter: Resource, own: str, authority: str) -> str:
        found = visit_keys(encounter, self.authorities, own)
        if found:
            return found[0]
        if encounter.get("id"):
            return f"{authority}|{encounter['id']}"
        raise _unusable("required", "Encounter.identifier", "nothing here identifies the visit")

    def _stay(
        self, encounter: Resource, visit: str, links: Mapping[str, str]
    ) -> Iterator[Fragment]:
        elements: dict[str, Any] = {}
        for name, value in encounter.items():
            if name in _COMPUTED:
                continue
            if name == "participant":
                for one in value:
                    label = _ATTENDING.get(_participation(one), "participant")
                    elements.setdefault(f"participant#{label}", []).append(one)
            elif name == "location":
                # The last one is where the patient is.
                elements["location#assigned"] = value[-1:]
            elif name == "identifier":
                elements["identifier#visit-number"] = value
            elif isinstance(value, list):
                elements[f"{name}#{name}"] = value
            else:
                elements[name] = value
        for name, value in (encounter.get("hospitalization") or {}).items():
            elements[f"hospitalization.{name}"] = value
        conditions = list(self._conditions(visit))
        roles = {
            str((one.get("condition") or {}).get("reference")): one.get("use")
            for one in encounter.get("diagnosis", ())
        }
        for name, condition in conditions:
            item: dict[str, Any] = {"condition": {"reference": f"Condition/{condition.id}"}}
            if roles.get(name):
                item["use"] = roles[name]
            elements[f"diagnosis#{condition.id}"] = [item]
        own = stable_id("Encounter", visit)
        yield Fragment("Encounter", own, "visit", rewrite(elements, links))
        for _, condition in conditions:
            condition.elements = rewrite(condition.elements, links)
            yield condition

    def _conditions(self, visit: str) -> Iterator[tuple[str, Fragment]]:
        """(name in the Bundle, fragment) of each Condition."""
        for name, resource in self._named("Condition"):
            code = resource.get("code") or {}
            codings = code.get("coding") or ()
            key = str(code.get("text", resource.get("id")))
            if codings:
                key = f"{codings[0].get('system', '')}|{codings[0].get('code', '')}"
            made = stable_id("Condition", visit, key)
            yield name, Fragment("Condition", made, "visit", _plain(resource))

    def _coverages(self, identity: str, links: Mapping[str, str]) -> Iterator[Fragment]:
        for _, resource in self._named("Coverage"):
            number = resource.get("subscriberId") or next(
                (one.get("value") for one in resource.get("identifier", ())), resource.get("id")
            )
            payor = next((one.get("display", "") for one in resource.get("payor", ())), "")
            made = stable_id("Coverage", identity, str(payor), str(number))
            yield Fragment("Coverage", made, "person", rewrite(_plain(resource), links))

    def _named(self, type_: str) -> Iterator[tuple[str, Resource]]:
        seen: set[int] = set()
        for name, resource in self.entries.items():
            if resource.get("resourceType") == type_ and id(resource) not in seen:
                seen.add(id(resource))
                yield name, resource

    def _detail(
        self,
        fact: Fact,
        event: str,
        encounter: Resource,
        patient: Resource,
        admitted: Moment | None,
        left: Moment | None,
    ) -> None:
        """What the fold wants as an ADT would send it."""
        if code := _V2_CLASS.get(_code(encounter.get("class"))):
            fact.details["class"] = code
        if admitted is not None and event not in ("A11", "A13"):
            fact.details["admitted"] = admitted
        if event == "A03":
            fact.details["discharged"] = left
            fact.details["disposition"] = _disposition(encounter)
        for one in patient.get("generalPractitioner", ()):
            known = self.entries.get(str(one.get("reference"))) or {}
            for identifier in [one.get("identifier") or {}, *known.get("identifier", ())]:
                if self.site is not None and identifier.get("value") in self.site.practices:
                    fact.details["practice"] = identifier["value"]

    # --- people and places ---------------------------------------------------------------

    def _directory(self) -> tuple[list[Fragment], dict[str, str]]:
        """Directory resources under their own ids, and the links to them."""
        links: dict[str, str] = {}
        found: list[tuple[str, str, Resource]] = []
        for name, resource in self.entries.items():
            type_ = resource.get("resourceType")
            if type_ not in _DIRECTORY:
                continue
            made = stable_id(type_, *self._key(type_, resource))
            links[name] = f"{type_}/{made}"
            if all(made != id_ for _, id_, _ in found):
                found.append((type_, made, resource))
        fragments = [
            Fragment(
                type_,
                made,
                "directory",
                rewrite({k: v for k, v in one.items() if k not in _OUTSIDE}, links),
            )
            for type_, made, one in found
        ]
        return fragments, links

    def _key(self, type_: str, resource: Resource) -> tuple[str, ...]:
        for identifier in resource.get("identifier", ()):
            system, value = str(identifier.get("system", "")), identifier.get("value")
            if value:
                assigner = "NPI" if system == NPI else self.authorities.of(system) or self.source
                return (f"{assigner}|{value}",)
        return (self.source, str(resource.get("name") or resource.get("id") or type_))


_OUTSIDE = frozenset({"resourceType", "id", "meta", "text"})


def _plain(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The elements of what belongs to a person, without those that the fold adds."""
    outside = _OUTSIDE | _PATIENTS | {"encounter"}
    return {name: value for name, value in resource.items() if name not in outside}


def _code(coding: Any) -> str:
    return str((coding or {}).get("code", ""))


def _participation(participant: Mapping[str, Any]) -> str:
    codings = (c for kind in participant.get("type", ()) for c in kind.get("coding", ()))
    return next((str(c.get("code")) for c in codings if c.get("system") == PARTICIPATION), "")


def _disposition(encounter: Mapping[str, Any]) -> str:
    """The patient discharge status, "" where it is not said."""
    said = (encounter.get("hospitalization") or {}).get("dischargeDisposition") or {}
    for coding in said.get("coding", ()):
        code = str(coding.get("code", ""))
        if coding.get("system") in _NUBC:
            return code.zfill(2)
        if coding.get("system") == DISCHARGE_DISPOSITION:
            return STATUS_OF.get(code, "")
    return ""


def _unusable(code: str, where: str, text: str) -> FhirError:
    return fhir_error("unprocessable", code, f"{where}: {text}", where)
