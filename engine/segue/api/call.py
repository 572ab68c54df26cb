"""One request of a FHIR client, and the interactions that it may ask for."""

from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import Response

from segue.api import read, search, write
from segue.api.context import Context
from segue.api.exchange import answer, body_of, version_headers
from segue.api.negotiation import MAX_QUERY, parse_body, parse_resource
from segue.api.operations import Invocation, Level
from segue.api.together import together
from segue.fhir.canonical import dumps, loads
from segue.fhir.outcomes import fhir_error
from segue.fhir.patch import patch_of
from segue.fhir.requests import Entry, Method
from segue.fhir.subset import Subset
from segue.store.records import StoredVersion

MOST_PARAMETERS = 500
"""Parameters of one URL or search form."""

_TRANSPORT = frozenset({"_format", "_pretty"})


def parameters(text: str, most: int = MAX_QUERY) -> list[tuple[str, str]]:
    """The decoded parameters of a URL or a form.

    Raises:
        FhirError: 400; there are too many, they are too long, or hold what no text holds.
    """
    if len(text) > most:
        text = f"parameters are limited to {most} characters"
        raise fhir_error("incorrect", "too-long", text)
    try:
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        text = f"there may be {MOST_PARAMETERS} parameters at most"
        raise fhir_error("incorrect", "too-costly", text) from None
    if any("\x00" in name or "\x00" in value for name, value in found):
        raise fhir_error("incorrect", "value", "a parameter holds a NUL character")
    return found


class Call:
    """A request, read as far as the event loop has to.

    Args:
        context: who asks, and of what.
        method: of HTTP.
        headers: of the request.
        query: the URL's, still encoded.
        parts: of the path: `type`, `id`, `version`, `name`, `compartment`.
        kind: media type of the body. body: unpacked.
    """

    def __init__(
        self,
        context: Context,
        method: str,
        headers: Headers,
        query: str,
        parts: dict[str, str],
        kind: str,
        body: bytes,
    ) -> None:
        self.context = context
        self.hub = context.hub
        self.definitions = context.hub.gate.definitions
        self.method = method
        self.headers = headers
        self.query = [pair for pair in parameters(query) if pair[0] not in _TRANSPORT]
        self.parts = parts
        self.kind = kind
        self.body = body

    @cached_property
    def type(self) -> str:
        """The resource type in the URL, which is stored here.

        Raises:
            FhirError: 404; it is not.
        """
        found = self.parts["type"]
        self.context.check(found)
        return found

    # --- reads ---------------------------------------------------------------------------

    def read(self) -> Response:
        """Read the current version of a resource."""
        with self.hub.store.read() as reader:
            stored = read.current(reader, self.type, self.parts["id"])
        if read.unchanged(stored, self.headers):
            return answer(None, 304, version_headers(stored))
        return self._shown(stored)

    def vread(self) -> Response:
        """Read one version of a resource."""
        with self.hub.store.read() as reader:
            stored = read.version(reader, self.type, self.parts["id"], self.parts["version"])
        return self._shown(stored)

    def _shown(self, stored: StoredVersion) -> Response:
        text = body_of(stored)
        view = Subset.of(self.query)
        if view is not None:
            text = dumps(view.apply(loads(text), self.definitions))
        return answer(text, 200, version_headers(stored))

    def history(self) -> Response:
        """List the versions of a resource, of a type, or of everything."""
        type_ = self.type if "type" in self.parts else None
        with self.hub.store.read() as reader:
            return answer(
                read.history(
                    reader,
                    self.context.root,
                    self.query,
                    type_,
                    self.parts.get("id"),
                    definitions=self.definitions,
                    strict=self.context.prefer.strict,
                )
            )

    def search(self) -> Response:
        """Search a type, or what of it belongs to a compartment, by URL or by form."""
        type_, root = self.type, self.context.root
        compartment = None
        if "compartment" in self.parts:
            compartment = read.key(self.parts["compartment"], self.parts["id"])
        pairs = list(self.query)
        if self.body:
            try:
                form = self.body.decode()
            except ValueError:
                raise fhir_error("incorrect", "value", "the form is not UTF-8") from None
            pairs += parameters(form, 16 * MAX_QUERY)
        with self.hub.store.read() as reader:
            query = search.parse(
                reader,
                type_,
                pairs,
                root,
                strict=self.context.prefer.strict,
                compartment=compartment,
            )
            return answer(search.search(reader, query, root, self.definitions, compartment))

    # --- writes --------------------------------------------------------------------------

    def _resource(self) -> dict[str, Any]:
        return parse_resource(self.body, self.kind, self.definitions)

    def create(self) -> Response:
        """Create a resource, or find the one that If-None-Exist describes."""
        return self._write("POST", self._resource())

    def update(self) -> Response:
        """Update a resource, or create it under this id."""
        return self._write("PUT", self._resource())

    def patch(self) -> Response:
        """Change parts of a resource: JSON Patch, JSON Merge Patch or FHIRPath Patch."""
        return self._write("PATCH", None)

    def delete(self) -> Response:
        """Delete a resource; its history stays."""
        return self._write("DELETE", None)

    def _write(self, method: Method, resource: dict[str, Any] | None) -> Response:
        id_ = self.parts.get("id")
        patch = None
        if method == "PATCH":
            patch = patch_of(self.kind, parse_body(self.body, self.kind, self.definitions))
        entry = Entry(
            0,
            method,
            self.type,
            id_,
            tuple(self.query) if id_ is None else (),
            "",
            resource,
            None,
            self.headers.get("if-match"),
            self.headers.get("if-none-match"),
            self.headers.get("if-none-exist"),
            patch=patch,
        )
        return write.single(self.context, entry)

    def bundle(self) -> Response:
        """Do a batch or a transaction."""
        return answer(together(self.context, self._resource()))

    # --- operations ----------------------------------------------------------------------

    def operation(self) -> Response:
        """Do an operation of the system, of a type, or of a resource."""
        type_, id_ = self.type if "type" in self.parts else "", self.parts.get("id", "")
        level: Level = "instance" if id_ else "type" if type_ else "system"
        context = self.context
        asked = Invocation(
            self.hub,
            context.speaker,
            level,
            type_,
            id_,
            self._resource() if self.body else None,
            self.query,
            context.root,
            context.prefer,
        )
        done = context.operations.run(asked, self.parts["name"], post=self.method == "POST")
        return answer(done.body, done.status, done.headers)
