"""`POST /hl7v2/{feed}`: one ER7 message (or batch) in, its acknowledgement out."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from segue.api.authentication import Tokens
from segue.api.negotiation import bounded
from segue.fhir.outcomes import fhir_error
from segue.pipeline.receive import NotDurable

Intake = Callable[[bytes], Awaitable[bytes]]
"""Takes the body of a request, gives the acknowledgements once it is durable.

Raises `NotDurable` where the journal could not take it."""


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
    body = await bounded(request)
    try:
        ack = await intake(body)
    except NotDurable as error:
        return Response(f"{error}\n", 503, media_type="text/plain")
    return Response(ack, media_type="x-application/hl7-v2+er7; charset=utf-8")
