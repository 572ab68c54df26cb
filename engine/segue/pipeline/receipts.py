"""What a destination has filed in its record is evidence: written down, and acted upon.

Only receipts of what protocols may ask for are kept: Encounters and documents, with
the class or the type that they had in the version that was filed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from segue.care.states import PersonState
from segue.care.view import DeliveryReceipt
from segue.model.changes import Cause
from segue.model.identity import ResourceKey, stable_id
from segue.pipeline.charts import Chart
from segue.pipeline.compare import parse_key
from segue.pipeline.contents import codes_of
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.facts import pack_value
from segue.pipeline.hub import Hub
from segue.pipeline.record import Recorder
from segue.pipeline.transact import Draft, transact
from segue.store.records import FactRow, Step

if TYPE_CHECKING:
    from segue.pipeline.deliver import ReceiptNote

KEPT: frozenset[str] = frozenset({"Encounter", "DocumentReference"})
"""Types whose filing can be evidence."""


def record_receipts(hub: Hub, notes: "Sequence[ReceiptNote]") -> None:
    """Note receipts of destinations with `receipt: record`; reported twice is once.

    Args:
        hub: the engine.
        notes: what was filed, by whom, and when (µs of the peer's answer).
    """
    kept = [note for note in notes if parse_key(note.reference).type in KEPT]
    if not kept:
        return

    def compute(draft: Draft) -> None:
        draft.load(pks={note.owner for note in kept})
        codes = _codes(draft, kept)
        by_person: dict[int, list[DeliveryReceipt]] = {}
        for note in kept:
            if note.owner not in draft.charts:
                continue
            chart = draft.chart(note.owner)
            class_code, type_code = codes.get((note.reference, note.version), (None, None))
            receipt = DeliveryReceipt(
                note.destination,
                note.reference,
                note.version,
                note.at,
                note.class_code or class_code,
                note.type_code or type_code,
            )
            fresh = by_person.setdefault(chart.pk, [])
            if not _known(receipt, [*chart.person.receipts, *fresh]):
                fresh.append(receipt)
        for pk, receipts in by_person.items():
            if receipts:
                _record(draft, draft.chart(pk), receipts)

    transact(hub, compute)


def with_receipts(person: PersonState, receipts: Iterable[DeliveryReceipt]) -> PersonState:
    """The person with these receipts, too."""
    found = [*person.receipts, *receipts]
    found.sort(key=lambda r: (r.at, r.destination, r.reference, r.version))
    return replace(person, receipts=found)


def _record(draft: Draft, chart: Chart, receipts: Sequence[DeliveryReceipt]) -> None:
    chart.person = with_receipts(chart.person, receipts)
    chart.touched = True
    last = receipts[-1]
    site = draft.hub.setting.destination_sites.get(last.destination, "")
    ref = f"{last.destination}/{last.reference}/_history/{last.version}"
    step = Step(Cause("receipt", ref, site))
    step.facts += [_fact(chart, receipt) for receipt in receipts]
    recorder = Recorder(draft, step)
    coordinate_person(recorder, chart)
    recorder.close()


def _fact(chart: Chart, receipt: DeliveryReceipt) -> FactRow:
    id_ = stable_id("receipt", receipt.destination, receipt.reference, str(receipt.version))
    value = (
        receipt.destination,
        receipt.reference,
        receipt.version,
        receipt.at,
        receipt.class_code,
        receipt.type_code,
    )
    return FactRow(id_, 0, "receipt", chart.person.key, None, pack_value(value), b"")


def _known(receipt: DeliveryReceipt, others: Sequence[DeliveryReceipt]) -> bool:
    return any(
        (one.destination, one.reference, one.version)
        == (receipt.destination, receipt.reference, receipt.version)
        for one in others
    )


def _codes(
    draft: Draft, notes: "Sequence[ReceiptNote]"
) -> dict[tuple[str, int], tuple[str | None, str | None]]:
    wanted: list[tuple[ResourceKey, int]] = [
        (parse_key(note.reference), note.version)
        for note in notes
        if note.class_code is None and note.type_code is None
    ]
    found = {}
    for version in draft.reader.versions(wanted):
        if version.body is not None:
            reference = version.key.reference
            found[reference, version.version] = codes_of(version.body)
    return found
