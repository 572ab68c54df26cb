"""What a visit's messages make of it (HL7 v2 chapter 3; cancels by EVN-6)."""

from itertools import permutations
from typing import Any

import msgspec
import pytest

from segue.care.assemble import visit_resources
from segue.care.fold import extend_visit, fold_visit
from segue.care.numbers import refused, resolve_numbers
from segue.care.person import fold_person
from segue.care.person_view import visit_view
from segue.care.states import VisitState
from segue.model.facts import Fact
from tests.support.facts import again, condition, doctor, fact, place, t


def encounter(facts: list[Fact]) -> dict[str, Any]:
    return visit_resources(fold_person(facts), fold_visit(facts))[0]


def places(state: VisitState) -> list[tuple[str, str | None, str | None]]:
    def short(moment: Any) -> str | None:
        return None if moment is None else moment.text[5:16].replace("T", " ")

    return [
        (items[0]["location"]["display"], short(start), short(end))
        for items, start, end in state.tracks.get("location#assigned", [])
    ]


def register(**more: Any) -> Fact:
    return fact(
        "A04", t("07-05 08:12"), patient_class="E", at="ED", admitted=t("07-05 08:12"), **more
    )


def inpatient(**more: Any) -> Fact:
    return fact(
        "A06",
        t("07-05 13:40"),
        t("07-05 13:42"),
        patient_class="I",
        at="4W",
        admitted=t("07-05 13:40"),
        control="2",
        **more,
    )


def to_ccu(**more: Any) -> Fact:
    return fact("A02", t("07-06 09:05"), patient_class="I", at="CCU", control="3", **more)


def discharge(**more: Any) -> Fact:
    given = {
        "patient_class": "I",
        "at": "CCU",
        "admitted": t("07-05 13:40"),
        "discharged": t("07-10 14:05"),
        "disposition": "01",
        "control": "4",
        **more,
    }
    return fact("A03", t("07-10 14:05"), t("07-10 14:31"), **given)


class TestFromEmergencyToInpatient:
    def test_the_class_changes_and_the_visit_still_begins_in_the_emergency_department(self) -> None:
        made = encounter([register(), inpatient()])
        assert made["status"] == "in-progress"
        assert made["class"]["code"] == "IMP"
        assert made["period"] == {"start": "2026-07-05T08:12:00-04:00"}
        assert made["classHistory"] == [
            {
                "class": {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                    "code": "EMER",
                },
                "period": {
                    "start": "2026-07-05T08:12:00-04:00",
                    "end": "2026-07-05T13:40:00-04:00",
                },
            }
        ]
        assert "statusHistory" not in made

    def test_places_follow_each_other(self) -> None:
        back = fact("A02", t("07-08 10:00"), patient_class="I", at="4W", control="5")
        state = fold_visit([register(), inpatient(), to_ccu(), back])
        assert places(state) == [
            ("ED", "07-05 08:12", "07-05 13:40"),
            ("4W", "07-05 13:40", "07-06 09:05"),
            ("CCU", "07-06 09:05", "07-08 10:00"),
            ("4W", "07-08 10:00", None),
        ]
        assert [
            place["status"]
            for place in encounter([register(), inpatient(), to_ccu(), back])["location"]
        ] == ["completed", "completed", "completed", "active"]

    def test_an_update_that_repeats_the_start_of_the_inpatient_stay_corrects_nothing(self) -> None:
        update = fact(
            "A08",
            t("07-05 15:00"),
            patient_class="I",
            at="4W",
            admitted=t("07-05 13:40"),
            control="9",
        )
        before = fold_visit([register(), inpatient()])
        assert fold_visit([register(), inpatient(), update]).start == t("07-05 08:12")
        after = extend_visit(before, update)
        assert after is not None
        assert after.start == t("07-05 08:12")

    def test_an_update_corrects_the_start(self) -> None:
        update = fact("A08", t("07-05 15:00"), admitted=t("07-05 07:50"), control="9")
        state = fold_visit([register(), inpatient(), update])
        assert state.start == t("07-05 07:50")
        assert state.tracks["class"][0][1] == t("07-05 07:50")

    def test_a_change_of_class_without_its_own_time_takes_the_later_admission_time(self) -> None:
        change = fact("A06", t("07-05 13:42"), patient_class="I", admitted=t("07-05 13:40"))
        state = fold_visit([register(), change])
        assert state.tracks["class"][-1][1] == t("07-05 13:40")

    def test_a_change_of_class_never_begins_with_the_arrival_in_the_emergency_department(
        self,
    ) -> None:
        change = fact("A06", t("07-05 13:42"), patient_class="I", admitted=t("07-05 08:12"))
        state = fold_visit([register(), change])
        assert state.tracks["class"][-1][1] == t("07-05 13:42")


class TestDischarge:
    def test_it_ends_the_visit_and_all_that_was_in_force(self) -> None:
        made = encounter([register(), inpatient(attending="ann"), to_ccu(), discharge()])
        assert made["status"] == "finished"
        assert made["period"]["end"] == "2026-07-10T14:05:00-04:00"
        assert made["statusHistory"] == [
            {
                "status": "in-progress",
                "period": {
                    "start": "2026-07-05T08:12:00-04:00",
                    "end": "2026-07-10T14:05:00-04:00",
                },
            }
        ]
        assert made["location"][-1]["status"] == "completed"
        assert made["location"][-1]["period"]["end"] == "2026-07-10T14:05:00-04:00"
        assert made["participant"][0]["period"]["end"] == "2026-07-10T14:05:00-04:00"
        assert made["hospitalization"]["dischargeDisposition"]["text"] == "01"

    def test_a_lone_discharge_is_a_finished_visit_that_nobody_announced(self) -> None:
        made = encounter([discharge()])
        assert made["status"] == "finished"
        assert made["class"]["code"] == "IMP"
        assert made["period"] == {
            "start": "2026-07-05T13:40:00-04:00",
            "end": "2026-07-10T14:05:00-04:00",
        }
        assert [tag["code"] for tag in made["meta"]["tag"]] == ["inferred"]

    def test_its_time_is_corrected_by_a_later_update(self) -> None:
        corrected = fact(
            "A08", t("07-10 16:00"), discharged=t("07-09 23:50"), patient_class="I", control="7"
        )
        facts = [register(), inpatient(), to_ccu(), discharge(), corrected]
        state = fold_visit(facts)
        assert state.end == t("07-09 23:50")
        assert state.statuses[-1] == ("finished", t("07-09 23:50"), None)
        assert places(state)[-1] == ("CCU", "07-06 09:05", "07-09 23:50")
        assert extend_visit(fold_visit(facts[:-1]), corrected) is None

    def test_a_discharge_time_on_an_open_visit_is_a_warning_and_ends_nothing(self) -> None:
        expected = fact("A08", t("07-06 10:00"), discharged=t("07-12 10:00"), control="7")
        state = fold_visit([register(), expected])
        assert state.status == "in-progress"
        assert state.warnings == [("discharge-time-on-open-visit", expected.id)]
        after = extend_visit(fold_visit([register(), expected]), discharge(discharged=None))
        assert after is not None
        assert after.end == t("07-10 14:05")
        assert after.warnings == []

    def test_still_a_patient_ends_nothing(self) -> None:
        assert fold_visit([register(), discharge(disposition="30")]).status == "in-progress"

    def test_what_happens_to_a_bed_afterwards_moves_nobody(self) -> None:
        late = fact("A02", t("07-10 15:00"), at="5E", patient_class="O", control="8")
        state = fold_visit([register(), inpatient(), discharge(), late])
        assert state.status == "finished"
        assert places(state)[-1][0] == "CCU"
        assert state.tracks["class"][-1][0]["code"] == "IMP"


class TestTemporaryPlaces:
    """PV1-11 and PV1-43: somebody is elsewhere for a while and keeps the bed."""

    def held(self, *facts: Fact) -> list[tuple[str, str, str]]:
        found = encounter([register(), inpatient(), *facts]).get("location", ())
        return [
            (
                one["location"]["display"],
                one["status"],
                one.get("period", {}).get("end", "")[5:16].replace("T", " "),
            )
            for one in found[2:]
        ]

    def away(self, event: str, at: str, **said: str) -> Fact:
        paths = {f"location#{path.replace('_', '-')}": place(to) for path, to in said.items()}
        return fact(event, t(at), patient_class="I", control=at, encounter=paths)

    def test_the_bed_stays_and_the_other_place_ends_with_the_next_movement(self) -> None:
        gone = self.away("A09", "07-06 09:00", temporary="XR")
        told = self.away("A08", "07-06 09:10", temporary="XR")
        empty = self.away("A08", "07-06 09:20")
        assert self.held(gone, told, empty) == [("XR", "active", "")]
        back = self.away("A10", "07-06 10:00")
        assert self.held(gone, told, empty, back) == [("XR", "completed", "07-06 10:00")]
        assert self.held(gone, to_ccu()) == [
            ("XR", "completed", "07-06 09:05"),
            ("CCU", "active", ""),
        ]

    def test_the_place_that_was_left_ends(self) -> None:
        gone = self.away("A09", "07-06 09:00", temporary="XR")
        left = self.away("A08", "07-06 09:30", prior_temporary="XR")
        assert self.held(gone, left, left) == [("XR", "completed", "07-06 09:30")]
        # Nobody told of it while it lasted.
        assert self.held(left) == [("XR", "completed", "07-06 09:30")]
        on = self.away("A10", "07-06 09:40", prior_temporary="XR", temporary="OR")
        told = self.away("A08", "07-06 09:50", prior_temporary="XR", temporary="OR")
        assert self.held(gone, on, told) == [
            ("XR", "completed", "07-06 09:40"),
            ("OR", "active", ""),
        ]

    def test_a_cancelled_tracking_event_was_nowhere(self) -> None:
        gone = self.away("A09", "07-06 09:00", temporary="XR")
        assert self.held(gone, fact("A33", t("07-06 09:00"), t("07-06 09:30"))) == []


class TestCancels:
    def cancel(self, event: str, recorded: str, targets: str | None = None, **more: Any) -> Fact:
        occurred = t(targets) if targets else t(recorded)
        return fact(
            event,
            occurred,
            t(recorded),
            targets=t(targets) if targets else None,
            **{"control": "1", **more},
        )

    def test_a_cancelled_discharge_leaves_only_history(self) -> None:
        out = fact(
            "A03",
            t("07-02 14:00"),
            discharged=t("07-02 14:00"),
            disposition="01",
            patient_class="I",
            control="999",
        )
        undo = self.cancel(
            "A13",
            "07-02 17:38",
            "07-02 14:00",
            control="1000",
            discharged=t("07-02 14:00"),
            disposition="01",
            patient_class="I",
        )
        admit = fact("A01", t("06-29 10:00"), patient_class="I", at="4W")
        facts = [admit, out, undo]
        made = encounter(facts)
        assert made["status"] == "in-progress"
        assert "end" not in made["period"]
        assert "hospitalization" not in made
        assert [
            (past["status"], past["period"]["start"][5:16], past["period"]["end"][5:16])
            for past in made["statusHistory"]
        ] == [
            ("in-progress", "06-29T10:00", "07-02T14:00"),
            ("finished", "07-02T14:00", "07-02T17:38"),
        ]
        state = fold_visit(facts)
        assert state.voided == [t("07-02 14:00").us]
        assert visit_view(state).disposition is None
        assert len({msgspec.msgpack.encode(fold_visit(p)) for p in permutations(facts)}) == 1

    def test_a_discharge_dated_ahead_and_cancelled_before_it_came_never_was(self) -> None:
        admit = fact("A01", t("06-29 10:00"), patient_class="I", at="4W")
        ahead = fact("A03", t("07-04 09:00"), t("07-02 14:00"), control="2")
        undo = self.cancel("A13", "07-02 17:38", "07-04 09:00", control="3")
        for facts in permutations([admit, ahead, undo]):
            made = encounter(list(facts))
            assert made["status"] == "in-progress"
            assert "statusHistory" not in made

    def test_a_discharge_resent_under_another_id_falls_with_the_first(self) -> None:
        out = fact("A03", t("07-02 14:00"), control="5", discharged=t("07-02 14:00"))
        resent = again(out, control="6", later=30)
        restated = fact("A08", t("07-02 15:00"), discharged=t("07-02 14:00"), control="7")
        undo = self.cancel("A13", "07-02 17:38", "07-02 14:00", control="8")
        admit = fact("A01", t("06-29 10:00"), patient_class="I")
        state = fold_visit([admit, out, resent, restated, undo])
        assert state.status == "in-progress"
        assert state.end is None
        assert state.voided == [t("07-02 14:00").us]
        again_out = fact("A03", t("07-06 11:20"), control="9", patient_class="I")
        assert fold_visit([admit, out, resent, restated, undo, again_out]).end == t("07-06 11:20")

    def test_a_cancel_before_its_target_waits_for_it(self) -> None:
        undo = self.cancel("A13", "07-02 17:38", "07-02 14:00")
        admit = fact("A01", t("06-29 10:00"), patient_class="I")
        state = fold_visit([admit, undo])
        assert state.status == "in-progress"
        assert state.warnings == [("cancel-without-target", undo.id)]
        state = fold_visit([undo, admit, fact("A03", t("07-02 14:00"))])
        assert state.status == "in-progress"
        assert state.warnings == []

    def test_a_cancel_said_twice_does_not_strike_the_event_before(self) -> None:
        admit = fact("A01", t("07-01 08:00"), patient_class="I", at="4W")
        first = fact("A02", t("07-02 08:00"), at="CCU", control="2")
        second = fact("A02", t("07-03 08:00"), at="5E", control="3")
        undo = self.cancel("A12", "07-03 09:00", "07-03 08:00", at="CCU", control="4")
        twice = self.cancel("A12", "07-03 09:30", "07-03 08:00", at="CCU", control="5")
        state = fold_visit([admit, first, second, undo, twice])
        assert state.struck == [second.id]
        assert places(state)[-1][0] == "CCU"

    def test_a_cancelled_admission_leaves_the_emergency_visit(self) -> None:
        admit = fact("A01", t("07-05 13:40"), patient_class="I", at="4W", control="2")
        update = fact("A08", t("07-05 14:00"), patient_class="I", at="4W", control="3")
        undo = self.cancel("A11", "07-05 15:00", "07-05 13:40", control="4")
        state = fold_visit([register(), admit, update, undo])
        assert state.status == "in-progress"
        assert [run[0]["code"] for run in state.tracks["class"]] == ["EMER"]
        assert places(state) == [("ED", "07-05 08:12", None)]
        assert not state.inferred

    @pytest.mark.parametrize("named", [True, False])
    def test_a_cancelled_admission_after_a_transfer_cancels_the_visit(self, named: bool) -> None:
        admit = fact("A01", t("07-01 10:00"), patient_class="I", at="4W")
        move = fact("A02", t("07-01 12:00"), patient_class="I", at="CCU", control="2")
        undo = self.cancel("A11", "07-01 13:00", "07-01 10:00" if named else None, control="3")
        made = encounter([admit, move, undo])
        assert made["status"] == "cancelled"
        assert made["class"]["code"] == "IMP"
        assert "period" not in made
        assert made["statusHistory"] == [
            {
                "status": "in-progress",
                "period": {
                    "start": "2026-07-01T10:00:00-04:00",
                    "end": "2026-07-01T13:00:00-04:00",
                },
            }
        ]
        assert "meta" not in made

    def test_control_ids_count_as_people_do(self) -> None:
        out = fact("A03", t("07-02 14:00"), control="9", disposition="01")
        other = fact("A03", t("07-02 14:00"), control="10", disposition="02")
        assert fold_visit([other, out]).disposition == "02"

    def test_after_a_cancelled_discharge_the_place_is_that_of_the_cancel(self) -> None:
        admit = fact("A01", t("07-01 10:00"), patient_class="I", at="4W")
        out = fact("A03", t("07-02 14:00"), at="4W", control="2")
        undo = self.cancel("A13", "07-02 17:38", "07-02 14:00", at="5E", control="3")
        state = fold_visit([admit, out, undo])
        assert places(state) == [("4W", "07-01 10:00", "07-02 17:38"), ("5E", "07-02 17:38", None)]

    def test_a_cancelled_transfer_must_go_back_to_the_place_before(self) -> None:
        admit = fact("A01", t("07-01 10:00"), patient_class="I", at="4W")
        move = fact("A02", t("07-02 14:00"), at="CCU", control="2")
        undo = self.cancel("A12", "07-02 15:00", "07-02 14:00", at="5E", control="3")
        state = fold_visit([admit, move, undo])
        assert state.warnings == [("place-after-cancel-differs", undo.id)]

    def test_a_deleted_visit_was_entered_in_error(self) -> None:
        gone = self.cancel("A23", "07-06 10:00", control="9")
        assert encounter([register(), inpatient(), gone])["status"] == "entered-in-error"

    def test_a_lone_cancel_of_a_discharge_tells_of_somebody_who_is_there(self) -> None:
        undo = self.cancel("A13", "07-02 17:38", "07-02 14:00", patient_class="I", at="4W")
        made = encounter([undo])
        assert made["status"] == "in-progress"
        assert made["class"]["code"] == "IMP"
        assert encounter([self.cancel("A11", "07-02 17:38")])["status"] == "cancelled"


class TestPlansAndLeaves:
    def test_a_pre_admission_is_planned_until_the_patient_comes(self) -> None:
        planned = fact("A05", t("07-01 10:00"), patient_class="P")
        assert encounter([planned])["status"] == "planned"
        admit = fact("A01", t("07-03 08:00"), patient_class="I", admitted=t("07-03 08:00"))
        made = encounter([planned, admit, fact("A14", t("07-04 08:00"), control="7")])
        assert made["status"] == "in-progress"
        assert made["period"]["start"] == "2026-07-03T08:00:00-04:00"
        assert [past["status"] for past in made["statusHistory"]] == ["planned"]
        undo = fact("A38", t("07-02 10:00"), control="9")
        assert encounter([planned, undo])["status"] == "cancelled"

    def test_the_place_of_a_planned_visit_is_planned_and_nobody_was_there(self) -> None:
        planned = fact("A14", t("07-01 10:00"), patient_class="P", at="4W")
        assert encounter([planned])["location"] == [{**place("4W")[0], "status": "planned"}]
        admit = fact("A01", t("07-03 08:00"), patient_class="I", at="5E", control="2")
        assert places(fold_visit([planned, admit])) == [("5E", "07-03 08:00", None)]
        assert [one["status"] for one in encounter([planned, admit])["location"]] == ["active"]

    def test_an_announcement_of_a_visit_under_way_moves_nobody(self) -> None:
        late = fact("A05", t("07-06 08:00"), patient_class="P", at="5E", control="20")
        made = encounter([register(), inpatient(), late])
        assert (made["class"]["code"], made["location"][-1]) == (
            "IMP", encounter([register(), inpatient()])["location"][-1]
        )  # fmt: skip

    def test_a_leave_of_absence_begins_ends_and_is_cancelled(self) -> None:
        leave = fact("A21", t("07-06 10:00"), control="2")
        back = fact("A22", t("07-06 18:00"), control="3")
        assert fold_visit([register(), leave]).status == "onleave"
        assert fold_visit([register(), leave, back]).status == "in-progress"
        no_leave = fact("A52", t("07-06 11:00"), control="4")
        assert fold_visit([register(), leave, no_leave]).status == "in-progress"
        not_back = fact("A53", t("07-06 19:00"), control="5")
        assert fold_visit([register(), leave, back, not_back]).status == "onleave"

    @pytest.mark.parametrize("event", ["A15", "A16", "A25", "A26"])
    def test_what_is_only_announced_changes_no_state(self, event: str) -> None:
        one = fact(event, t("07-06 10:00"), control="2", patient_class="E", at="ED")
        state = fold_visit([register(), one])
        assert (state.status, len(state.statuses)) == ("in-progress", 1)
        assert len(places(state)) == 1

    def test_two_patients_who_swap_beds_have_each_other_s(self) -> None:
        swap = fact("A17", t("07-06 10:00"), control="2", patient_class="E", at="4W")
        assert places(fold_visit([register(), swap]))[-1] == ("4W", "07-06 10:00", None)


class TestAnnouncements:
    def announced(self, control: str = "9") -> Fact:
        pending = {"location#pending": place("5E")}
        return fact("A15", t("07-06 08:00"), at="4W", encounter=pending, control=control)

    def statuses(self, facts: list[Fact]) -> list[tuple[str, str]]:
        shown = encounter(facts).get("location", [])
        return [(one["location"]["display"], one["status"]) for one in shown]

    def test_an_announced_place_is_planned_until_the_transfer(self) -> None:
        facts = [register(), inpatient(), self.announced()]
        before = [("ED", "completed"), ("4W", "active")]
        assert self.statuses(facts) == [*before, ("5E", "planned")]
        moved = fact("A02", t("07-06 09:05"), at="5E", control="10")
        after = [("ED", "completed"), ("4W", "completed"), ("5E", "active")]
        assert self.statuses([*facts, moved]) == after
        assert self.statuses([*facts, discharge()])[-1] == ("CCU", "completed")

    def test_who_is_said_to_be_elsewhere_is_announced_no_more(self) -> None:
        there = fact("A08", t("07-06 09:05"), at="5E", control="10")
        facts = [register(), inpatient(), self.announced(), there]
        assert self.statuses(facts)[1:] == [("4W", "completed"), ("5E", "active")]

    def test_a_cancelled_announcement_is_gone_and_the_one_before_it_counts(self) -> None:
        cancel = fact("A26", t("07-06 08:30"), targets=t("07-06 08:00"), at="4W", control="11")
        facts = [register(), inpatient(), self.announced(), cancel]
        assert self.statuses(facts) == [("ED", "completed"), ("4W", "active")]
        earlier = fact("A15", t("07-06 07:00"), control="8",
                       encounter={"location#pending": place("2N")})  # fmt: skip
        assert self.statuses([*facts, earlier])[-1] == ("2N", "planned")

    def test_a_cancelled_discharge_announcement_takes_its_date_along(self) -> None:
        url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.plannedEndDate"
        planned = {"extension#planned-end": [{"url": url, "valueDateTime": "2026-07-09"}]}
        announced = fact("A16", t("07-06 08:00"), encounter=planned, control="9")
        cancel = fact("A25", t("07-06 08:30"), targets=t("07-06 08:00"), control="11")
        assert encounter([register(), announced])["extension"][0]["url"] == url
        assert "extension" not in encounter([register(), announced, cancel])


class TestRefusals:
    @pytest.mark.parametrize(
        ("event", "code"),
        [
            ("A02", "event-after-discharge"),
            ("A21", "event-after-discharge"),
            ("A05", "announcement-after-admission"),
        ],
    )
    def test_what_cannot_happen_after_a_discharge_is_a_warning(self, event: str, code: str) -> None:
        late = fact(event, t("07-11 08:00"), at="5E", control="20")
        facts = [register(), inpatient(), discharge(), late]
        state = fold_visit(facts)
        assert (state.status, state.warnings) == ("finished", [(code, late.id)])
        assert "5E" not in str(places(state))

    def test_a_return_without_a_leave_is_a_warning_and_changes_nothing(self) -> None:
        back = fact("A22", t("07-06 08:00"), control="20")
        state = fold_visit([register(), inpatient(), back])
        assert state.warnings == [("return-without-leave", back.id)]
        leave = fact("A21", t("07-06 07:00"), control="19")
        assert fold_visit([register(), inpatient(), leave, back]).warnings == []


class TestNumbers:
    def test_a_visit_that_was_merged_is_told_under_the_number_that_stays(self) -> None:
        wrong = fact("A04", t("07-05 07:00"), visit="HOSPA|V0", patient_class="E", at="ED")
        merge = fact("A42", t("07-05 15:00"), visit="HOSPA|V1", control="5",
                     details={"prior_visit": "HOSPA|V0"})  # fmt: skip
        facts = [wrong, register(), inpatient(), merge]
        numbers = resolve_numbers(fold_person(facts).renamed)
        assert numbers == {"HOSPA|V0": "HOSPA|V1"}
        state = fold_visit(facts, "HOSPA|V1")
        assert state.encounter == fold_visit([register()]).encounter
        assert state.start == t("07-05 07:00")
        shown = visit_resources(fold_person(facts), state)[0]["identifier"]
        assert [(one["value"], one.get("use")) for one in shown] == [("V1", None), ("V0", "old")]

    def test_a_changed_alternate_number_leaves_the_visit_where_it_is(self) -> None:
        change = fact("A51", t("07-05 10:00"), control="5",
                      details={"prior_visit": "HOSPA|X1", "visit_stays": True})  # fmt: skip
        early = fact("A04", t("07-05 07:00"), visit="HOSPA|X1", patient_class="E", at="ED")
        facts = [early, register(), change]
        assert resolve_numbers(fold_person(facts).renamed) == {"HOSPA|X1": "HOSPA|V1"}
        assert fold_visit(facts, "HOSPA|V1").encounter == fold_visit([register()]).encounter

    def test_numbers_never_lead_to_themselves(self) -> None:
        one = fact("A50", t("07-05 10:00"), visit="HOSPA|V2", control="1",
                   details={"prior_visit": "HOSPA|V1"})  # fmt: skip
        back = fact("A50", t("07-05 11:00"), visit="HOSPA|V1", control="2",
                    details={"prior_visit": "HOSPA|V2"})  # fmt: skip
        renamed = fold_person([one, back]).renamed
        assert resolve_numbers(renamed) == {"HOSPA|V2": "HOSPA|V1"}
        assert refused(renamed) == [back.id]


class TestUpdates:
    @pytest.mark.parametrize("event", ["A28", "A31", "A60"])
    def test_a_person_event_makes_and_ends_no_visit(self, event: str) -> None:
        one = fact(event, t("07-05 09:00"), patient_class="I")
        assert fold_visit([one]).status == ""
        assert visit_resources(fold_person([one]), fold_visit([one])) == []
        one.visit = "HOSPA|V1"
        assert msgspec.msgpack.encode(fold_visit([register(), one])) == msgspec.msgpack.encode(
            fold_visit([register()])
        )

    def test_an_update_of_an_unknown_visit_infers_it(self) -> None:
        update = fact("A08", t("07-05 09:00"), patient_class="I", at="4W")
        made = encounter([update])
        assert (made["status"], made["class"]["code"]) == ("in-progress", "IMP")
        assert [tag["code"] for tag in made["meta"]["tag"]] == ["inferred"]
        admit = fact("A01", t("07-05 08:00"), patient_class="I", at="4W", control="2")
        assert "meta" not in encounter([update, admit])
        assert encounter([fact("A08", t("07-05 09:00"), patient_class="P")])["status"] == "planned"

    def test_a_stale_update_neither_reopens_nor_moves(self) -> None:
        stale = fact("A08", t("07-06 09:00"), patient_class="I", at="4W", control="5")
        facts = [register(), inpatient(), to_ccu(), discharge(), stale]
        seen = {msgspec.msgpack.encode(fold_visit(p)) for p in permutations(facts)}
        assert len(seen) == 1
        state = fold_visit(facts)
        assert state.status == "finished"
        assert places(state)[-1] == ("CCU", "07-06 09:05", "07-10 14:05")

    def test_an_update_that_differs_is_a_movement(self) -> None:
        update = fact("A08", t("07-05 10:00"), patient_class="B", at="OBS", control="5")
        state = fold_visit([register(), update])
        assert [run[0]["code"] for run in state.tracks["class"]] == ["EMER", "OBSENC"]
        assert places(state)[-1] == ("OBS", "07-05 10:00", None)

    def test_absent_keeps_null_deletes_and_labels_add_up(self) -> None:
        said = {
            "priority": {"text": "E"},
            "type#a": [{"text": "a"}],
            "reasonCode#1": [{"text": "x"}],
        }
        first = register(encounter=said)
        second = fact(
            "A08",
            t("07-05 10:00"),
            control="2",
            encounter={"priority": None, "type#b": [{"text": "b"}]},
        )
        made = encounter([first, second])
        assert "priority" not in made
        assert made["type"] == [{"text": "a"}, {"text": "b"}]
        assert made["reasonCode"] == [{"text": "x"}]
        third = fact("A08", t("07-05 11:00"), control="3", encounter={"type": None})
        assert "type" not in encounter([first, second, third])

    def test_participants_have_periods(self) -> None:
        facts = [
            register(attending="ann"),
            fact("A54", t("07-06 10:00"), attending="bob", control="2"),
            fact(
                "A61",
                t("07-06 11:00"),
                control="3",
                encounter={"participant#consulting": doctor("cy", "CON")},
            ),
        ]
        made = encounter(facts)
        assert [
            (p["individual"]["reference"], p["period"].get("end")) for p in made["participant"]
        ] == [
            (doctor("ann")[0]["individual"]["reference"], "2026-07-06T10:00:00-04:00"),
            (doctor("bob")[0]["individual"]["reference"], None),
            (doctor("cy")[0]["individual"]["reference"], None),
        ]
        undone = [*facts, fact("A55", t("07-06 12:00"), control="4", attending="ann")]
        assert len(encounter(undone)["participant"]) == 2
        assert (
            visit_view(fold_visit(facts)).practitioners[-1]
            == (doctor("cy")[0]["individual"]["reference"])
        )


class TestWhatProtocolsSee:
    def test_the_earliest_arrival_that_justifies_an_anchor(self) -> None:
        early = discharge(received=500)
        late = inpatient(received=900)
        state = fold_visit([register(received=700), late, early])
        assert state.noticed == {"admission": 500, "discharge": 500}
        assert state.anchored["admission"] == t("07-05 13:42").us
        assert fold_visit([register(received=700)]).noticed == {"admission": 700}

    def test_the_view_of_a_visit(self) -> None:
        diagnoses = (condition("I50.23"), condition("E11.9"))
        seen = visit_view(
            fold_visit(
                [
                    register(details={"admission_type": "E", "service": "MED"}, others=diagnoses),
                    inpatient(),
                    discharge(history=True),
                ]
            )
        )
        assert [(c.code, c.start, c.end) for c in seen.classes] == [
            ("EMER", t("07-05 08:12"), t("07-05 13:40")),
            ("IMP", t("07-05 13:40"), t("07-10 14:05")),
        ]
        assert sorted(code for _, code, _ in seen.diagnoses) == ["E11.9", "I50.23"]
        assert (seen.discharged, seen.disposition) == (True, "01")
        assert (seen.admission_type, seen.service, seen.history) == ("E", "MED", False)

    def test_a_withdrawn_resource_is_gone_until_it_is_stated_again(self) -> None:
        gone = condition("I50.23")
        gone.elements = {"": None}
        first = register(others=(condition("I50.23"),))
        second = fact("A08", t("07-05 10:00"), control="2", others=(gone,))
        third = fact("A08", t("07-05 11:00"), control="3", others=(condition("I50.23"),))
        assert fold_visit([first, second]).others == {}
        assert len(fold_visit([first, second, third]).others) == 1


def test_a_visit_that_a_client_told_of_first_keeps_the_clients_id() -> None:
    stated = fact("A01", t("07-05 07:00"))
    stated.event, stated.stay[0].id = "statement", "own"
    before = fold_visit([stated, register()])
    assert before.encounter == "own"
    assert before.start == t("07-05 08:12")
    after = extend_visit(before, to_ccu())
    assert after is not None
    assert msgspec.msgpack.encode(after) == msgspec.msgpack.encode(
        fold_visit([to_ccu(), stated, register()])
    )
