"""The times of an event, by which facts are ordered.

`occurred` orders movements: EVN-6, else ZBE-2, else the event's own field (PV1-44 of A01 and A04,
PV1-45 of A03), else EVN-2, else MSH-7. `recorded` orders statements: EVN-2, else
MSH-7. EVN-6 of a cancel is the time of what it cancels (HL7 v2.5.1 section 3.4.1.6),
so a cancel occurs when it is recorded.
"""

from segue.hl7v2.message import Segment
from segue.mapping.values import Run
from segue.model.instants import Moment, rfc3339

OWN_FIELD = {"A01": 44, "A04": 44, "A03": 45}
"""The field of PV1 that says when the event itself happened."""


class EventTimes:
    """The times of MSH and EVN, read once for all patients of a message.

    Attributes:
        sent: MSH-7, else the time of arrival, with a warning.
        recorded: EVN-2, else `sent`.
        happened: EVN-6, else ZBE-2, None where both are empty.
    """

    __slots__ = ("happened", "recorded", "run", "sent")

    def __init__(
        self,
        run: Run,
        header: Segment | None,
        stated: Segment | None,
        movement: Segment | None,
        received: int,
    ) -> None:
        self.run = run
        sent = self._read(header, 7)
        if sent is None:
            if header is None or not header.raw(7):
                run.report("warning", "no-time", "MSH-7", "empty; the time of arrival is taken")
            sent = Moment(rfc3339(received), received)
        self.sent: Moment = sent
        self.happened = self._read(stated, 6) or self._read(movement, 2)
        self.recorded: Moment = self._read(stated, 2) or sent

    def occurred(self, event: str, visit: Segment | None) -> Moment:
        """When an event happened that is no cancel."""
        if self.happened is not None:
            return self.happened
        number = OWN_FIELD.get(event)
        own = self._read(visit, number) if number else None
        return own or self.recorded

    def _read(self, segment: Segment | None, n: int) -> Moment | None:
        raw = segment.raw(n) if segment is not None else ""
        if segment is None or not raw:
            return None
        run = self.run
        value = run.moment(raw)
        if run.found:
            for severity, code, text in run.found:
                run.report(severity, code, f"{segment.name}-{n}", text)
            run.found.clear()
        return value
