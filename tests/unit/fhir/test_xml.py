"""FHIR XML and JSON stand for the same resource, to the last digit.

Source: https://hl7.org/fhir/R4/xml.html, https://hl7.org/fhir/R4/json.html
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from segue.fhir.canonical import dumps, loads
from segue.fhir.profiles import definitions
from segue.fhir.xml import XmlError, from_xml, to_xml

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT.parent / "shared" / "data" / "fhir" / "us_core_610_package_examples"
KNOWN = definitions()

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">a <b>b</b> &amp; c\n  <br/></div>'
FULL = f"""{{"resourceType":"Observation","id":"a","meta":{{"tag":[{{"code":"x"}}]}},
"text":{{"status":"generated","div":{json.dumps(DIV)}}},
"contained":[{{"resourceType":"Patient","id":"p","active":false}}],
"extension":[{{"url":"urn:x","valueDecimal":1.50}},
  {{"id":"e","url":"urn:y","valueInstant":"2020-01-01T00:00:00.000+02:00"}}],
"status":"final","_status":{{"id":"s","extension":[{{"url":"urn:z","valueBoolean":true}}]}},
"code":{{"text":"tab\\tline\\nend <&\\"'"}},
"valueQuantity":{{"value":1E-10,"unit":"mg"}},
"component":[{{"id":"c","code":{{"text":"x"}},"valueSampledData":
  {{"origin":{{"value":0.00}},"period":10,"dimensions":1}}}}]}}"""


def same(text: str) -> None:
    resource = loads(text)
    for pretty in (False, True):
        found = from_xml(to_xml(resource, KNOWN, pretty=pretty), KNOWN)
        assert marked(json.loads(dumps(found))) == marked(json.loads(dumps(resource)))
        assert sorted(numbers(found)) == sorted(numbers(resource))


def marked(value: Any) -> Any:
    """With narratives in their canonical form: quotes and entities may be written otherwise."""
    if isinstance(value, dict):
        return {
            key: etree.canonicalize(item) if key == "div" else marked(item)
            for key, item in value.items()
        }
    return [marked(item) for item in value] if isinstance(value, list) else value


def numbers(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [] if isinstance(value, (str, bool, type(None))) else [str(value)]


def test_everything_that_json_can_say_survives() -> None:
    same(FULL)


def test_holes_in_lists_of_primitives_survive() -> None:
    same(
        '{"resourceType":"Patient","name":[{"given":["a",null,"c"],'
        '"_given":[null,{"extension":[{"url":"u","valueString":"q"}]},null]},'
        '{"_given":[{"id":"x"}]}]}'
    )


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1),
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
    ),
)
@settings(max_examples=50, deadline=None)
def test_texts_and_decimals_survive(text: str, number: Any) -> None:
    resource = {
        "resourceType": "Basic",
        "extension": [{"url": "u", "valueString": text}, {"url": "u", "valueDecimal": number}],
    }
    found = from_xml(to_xml(resource, KNOWN), KNOWN)
    assert found["extension"][0]["valueString"] == text
    assert str(found["extension"][1]["valueDecimal"]) == str(number)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="US Core's examples are not beside the checkout")
def test_the_examples_of_us_core_survive() -> None:
    files = sorted(EXAMPLES.rglob("*.json"))[::4]
    texts = [file.read_text(encoding="utf-8") for file in files]
    read = [text for text in texts if json.loads(text).get("resourceType") in KNOWN.resources]
    assert read
    for text in read:
        same(text)


GENDER = '<gender value="male"/>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "well-formed"),
        ("<Patient", "well-formed"),
        ("<Patient/>", "namespace"),
        ('<Quux xmlns="http://hl7.org/fhir"/>', "no resource"),
        ('<Patient xmlns="http://hl7.org/fhir"><colour value="x"/></Patient>', "element colour"),
        ('<Patient xmlns="http://hl7.org/fhir" class="x"/>', "attribute class"),
        ('<Patient xmlns="http://hl7.org/fhir">words</Patient>', "text"),
        (f'<Patient xmlns="http://hl7.org/fhir">{GENDER}{GENDER}</Patient>', "once"),
        ('<!DOCTYPE Patient [<!ENTITY a "b">]><Patient xmlns="http://hl7.org/fhir"/>',
         "document type"),
        ('<!DOCTYPE Patient SYSTEM "file:///etc/passwd"><Patient xmlns="http://hl7.org/fhir"/>',
         "document type"),
        ('<Bundle xmlns="http://hl7.org/fhir"><entry><resource/></entry></Bundle>', "one resource"),
        (f'<Basic xmlns="http://hl7.org/fhir">{"<text>" * 300}{"</text>" * 300}</Basic>',
         "well-formed"),
    ],
)  # fmt: skip
def test_what_is_no_fhir_xml_is_refused(text: str, said: str) -> None:
    with pytest.raises(XmlError, match=said):
        from_xml(text.encode(), KNOWN)


def test_a_wrong_value_is_left_to_the_gate() -> None:
    text = '<Patient xmlns="http://hl7.org/fhir"><active value="perhaps"/></Patient>'
    assert from_xml(text.encode(), KNOWN)["active"] == "perhaps"


def test_a_narrative_that_is_not_well_formed_is_shown_as_text() -> None:
    text = {"status": "generated", "div": "<div>&nbsp;<p></div>"}
    resource: dict[str, Any] = {"resourceType": "Basic", "text": text}
    assert b"&lt;p&gt;" in to_xml(resource, KNOWN)
    named = {**resource, "text": {**text, "div": DIV.replace("&amp;", "&nbsp;")}}
    assert "\u00a0" in to_xml(named, KNOWN).decode()
