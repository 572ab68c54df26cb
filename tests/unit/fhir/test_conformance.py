"""The CapabilityStatement claims what is there, and no more."""

from dataclasses import dataclass
from typing import Any

from segue.fhir.conformance import capability_statement, claims

US_CORE = "http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"


@dataclass(frozen=True)
class Named:
    """An operation of one type."""

    name: str
    type: str
    definition: str = "urn:test"
    documentation: str = ""

    def offered(self, level: Any, type_: str = "") -> bool:
        return level == "type" and type_ == self.type


def statement(*operations: Named, **more: Any) -> dict[str, Any]:
    return capability_statement(
        claims()[US_CORE],
        version="0",
        date="2026-01-01",
        base_url="http://here/fhir",
        operations=operations,
        claims=claims(),
        **more,
    )


def test_what_is_marked_shall_is_known() -> None:
    assert claims()[US_CORE]["Encounter"]["search"] == ["_id", "date", "patient"]


def test_a_statement_is_instantiated_where_all_that_it_requires_is_offered() -> None:
    made = statement(Named("docref", "DocumentReference"), secured=True, services=["SMART-on-FHIR"])
    assert made["instantiates"] == [US_CORE]


def test_a_statement_is_not_instantiated_where_something_is_missing() -> None:
    assert "instantiates" not in statement()
    assert "instantiates" not in statement(Named("docref", "Patient"))
    docref = Named("docref", "DocumentReference")
    smart: dict[str, Any] = {"secured": True, "services": ["SMART-on-FHIR"]}
    assert "instantiates" not in statement(docref, interactions=("search-type",), **smart)
    assert "instantiates" not in statement(docref, secured=True, services=["Basic"])
    assert "instantiates" not in statement(docref)


def test_profiles_are_named_where_writes_are_held_to_them() -> None:
    made = statement(profiles={"Goal": ["urn:b", "urn:a"]})
    kinds = {one["type"]: one for one in made["rest"][0]["resource"]}
    assert kinds["Goal"]["supportedProfile"] == ["urn:a", "urn:b"]
    assert "supportedProfile" not in kinds["Patient"]
    assert "http://hl7.org/fhir/CompartmentDefinition/patient" in made["rest"][0]["compartment"]
