"""$process-message: notifications of admissions, discharges and transfers.

Sources: https://hl7.org/fhir/R4/messageheader-operation-process-message.html,
http://hl7.org/fhir/us/davinci-alerts
"""

from typing import Any

from segue.api.operations import Invocation
from segue.fhir.outcomes import fhir_error
from segue.model.identity import stable_id
from segue.model.instants import rfc3339
from segue.pipeline.notified import take_in


def process_message(asked: Invocation) -> dict[str, Any]:
    """Take a message in; the answer is the message that says so.

    Raises:
        FhirError: 400, 422; nothing was written.
    """
    body = asked.value("content")
    sent = body if body is not None else asked.body
    if not isinstance(sent, dict) or sent.get("resourceType") != "Bundle":
        raise fhir_error("incorrect", "structure", "send the message: a Bundle of type message")
    alert = take_in(asked.hub, asked.speaker, sent)
    header, now = alert.header, rfc3339(asked.hub.now())
    own = stable_id("MessageHeader", "response", alert.fact.id)
    answer: dict[str, Any] = {
        "resourceType": "MessageHeader",
        "id": own,
        "eventCoding": header["eventCoding"],
        "source": {"name": "Segue", "endpoint": f"{asked.root}/$process-message"},
        "response": {"identifier": str(header.get("id", alert.fact.id)), "code": "ok"},
    }
    endpoint = (header.get("source") or {}).get("endpoint")
    if endpoint:
        answer["destination"] = [{"endpoint": endpoint}]
    return {
        "resourceType": "Bundle",
        "id": stable_id("Bundle", own),
        "type": "message",
        "timestamp": now,
        "entry": [{"fullUrl": f"{asked.root}/MessageHeader/{own}", "resource": answer}],
    }
