"""A visit's history in words and as a picture."""

from dataclasses import replace
from xml.etree import ElementTree

from segue.care.timeline import timeline
from segue.care.timeline_picture import svg
from segue.model.facts import Fact
from tests.support.facts import fact, t


def late(one: Fact, arrival: str) -> Fact:
    return replace(one, received=t(arrival).us)


FACTS = [
    late(fact("A04", t("07-05 08:12"), patient_class="E", at="ED^1", control="1"), "07-05 08:13"),
    late(fact("A03", t("07-10 14:00"), disposition="01", discharged=t("07-10 14:00"),
              control="4"), "07-10 14:01"),
    late(fact("A06", t("07-05 13:40"), patient_class="I", at="4W^2", control="2"), "07-10 15:00"),
    late(fact("A13", t("07-10 16:00"), targets=t("07-10 14:00"), control="5"), "07-10 16:01"),
    late(fact("A08", t("07-10 16:30"), control="6"), "07-10 16:31"),
]  # fmt: skip


def test_each_message_says_what_it_changed_in_the_order_of_arrival() -> None:
    told = timeline(FACTS, "HOSPA|V1").told
    assert [one.event for one in told] == ["A04", "A03", "A06", "A13", "A08"]
    admit, discharge, change, cancel, update = told
    assert admit.changed[:3] == ["status in-progress", "class EMER", "place ED^1"]
    assert "status in-progress → finished" in discharge.changed
    assert f"ends {t('07-10 14:00').text}" in discharge.changed
    assert "class EMER → IMP" in change.changed
    assert "place ED^1 → 4W^2" in change.changed
    assert "status finished → in-progress" in cancel.changed
    assert f"ends no more (was {t('07-10 14:00').text})" in cancel.changed
    assert "struck out: A03 4" in cancel.changed
    assert update.changed == []
    assert (discharge.undone, discharge.undone_by) == (t("07-10 16:00"), "A13 5")
    assert [one.late for one in told] == [False, False, True, False, False]
    assert (change.occurred, change.learnt) == (t("07-05 13:40"), t("07-10 15:00").us)


def test_what_is_in_doubt_is_said_with_the_message() -> None:
    lonely = fact("A12", t("07-06 08:00"), targets=t("07-06 07:00"), control="9")
    told = timeline([*FACTS, lonely], "HOSPA|V1").told
    assert any("has not been heard of" in one for item in told for one in item.doubts)


def test_the_picture_shows_every_message_and_every_bar() -> None:
    history = timeline(FACTS, "HOSPA|V1")
    root = ElementTree.fromstring(svg(history))
    names = {"svg": "http://www.w3.org/2000/svg"}
    assert len(root.findall("svg:circle", names)) == 2 * len(FACTS)
    titles = [one.text for one in root.findall("svg:rect/svg:title", names)]
    assert {"finished", "EMER", "IMP", "ED^1", "4W^2"} <= set(titles)
    struck = [one for one in root.findall("svg:text", names) if one.get("text-decoration")]
    assert [one.text for one in struck] == ["A03 4"]
