"""`POST /hl7v2/{feed}`: one ER7 message (or batch) in, its acknowledgement out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from segue.api.authentication import Tokens
from segue.api.negotiation import bounded
from segue.fhir.outcomes import FhirError, fhir_error
from segue.model.messages import Cut
from segue.pipeline.receive import NotDurable


@dataclass(frozen=True, slots=True)
class Intake:
    """The way in of a feed.

    Attributes:
        take: takes the body of a request, gives the acknowledgements once it is durable;
            raises `NotDurable` where the journal could not take it.
        keep: keeps what came of a body that did not come whole, in quarantine.
    """

    take: Callable[[bytes], Awaitable[bytes]]
    keep: Callable[[bytes, Cut], None]


async def receive(
    request: Request, feed: str, feeds: dict[str, Intake], tokens: Tokens
) -> Response:
    """Answer a message as MLLP would.

    200 with the ACK whatever its code, for the sender's engine reads MSA; 404 for a
    feed that is not of kind http, 503 where the message could not be made durable.
    """
    client = tokens.client(request.headers.get("authorization"))
    if client is not None and not client.may_write:
        raise fhir_error("forbidden", "forbidden", "this client may read, and not write")
    if client is None:
        raise fhir_error(
            "unauthorised", "login", "send Authorization: Bearer with a client's token"
        )
    intake = feeds.get(feed)
    if intake is None:
        known = ", ".join(sorted(feeds)) or "none"
        raise fhir_error("not-found", "not-found", f"no http feed {feed!r}; http feeds: {known}")
    parts: list[bytes] = []
    try:
        body = await bounded(request, parts)
    except (ClientDisconnect, FhirError) as error:
        if parts:
            intake.keep(b"".join(parts), "oversize" if _too_large(error) else "truncated")
        if isinstance(error, FhirError):
            raise
        return Response("The body is cut off. Send it again.\n", 400, media_type="text/plain")
    try:
        ack = await intake.take(body)
    except NotDurable as error:
        return Response(f"{error}\n", 503, media_type="text/plain")
    return Response(ack, media_type="x-application/hl7-v2+er7; charset=utf-8")


def _too_large(error: Exception) -> bool:
    return isinstance(error, FhirError) and error.status == 413
