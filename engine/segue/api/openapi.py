"""The OpenAPI description: FastAPI's of the engine's own routes, and FHIR's interactions.

It is made of the same list as the routes. What each resource type holds is FHIR's to say,
not OpenAPI's: bodies are objects here, and /fhir/metadata has the details.

Source: https://spec.openapis.org/oas/v3.1.0
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from segue.api.fhir import INTERACTIONS, Interaction
from segue.api.negotiation import FORM
from segue.api.operations import Operations

_JSON, _XML = "application/fhir+json", "application/fhir+xml"
_PATTERNS = {
    "type": "^[A-Z][A-Za-z]{1,63}$",
    "compartment": "^(Patient|Encounter|Practitioner|RelatedPerson|Device)$",
    "id": "^[A-Za-z0-9.-]{1,64}$",
    "version": "^[0-9]{1,9}$",
    "name": "^[a-z][a-z-]{1,40}$",
}
_HEADERS = {
    "PUT": ("If-Match", "If-None-Match", "Prefer"),
    "PATCH": ("If-Match", "Prefer"),
    "DELETE": ("If-Match", "Prefer"),
    "POST": ("If-None-Exist", "Prefer"),
    "GET": ("If-None-Match", "If-Modified-Since"),
}
_SUCCESS = {
    "GET": ("200", "304"),
    "POST": ("200", "201", "202", "204"),
    "PUT": ("200", "201"),
    "PATCH": ("200",),
    "DELETE": ("200", "204"),
}
_REFERENCE = {"$ref": "#/components/schemas/Resource"}


def describe(
    app: FastAPI, operations: Operations, *, secured: bool
) -> Callable[[], dict[str, Any]]:
    """A function that gives the description, made at its first call.

    Args:
        secured: whether requests need a bearer token.
    """
    made: dict[str, Any] = {}

    def description() -> dict[str, Any]:
        if not made:
            made.update(_described(app, operations, secured=secured))
        return made

    return description


def _described(app: FastAPI, operations: Operations, *, secured: bool) -> dict[str, Any]:
    found: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    paths = found["paths"]
    paths["/fhir/metadata"] = {
        "get": {
            "tags": ["fhir"],
            "summary": "The CapabilityStatement: what FHIR clients may ask for",
            "operationId": "capabilities",
            "responses": {"200": _answer("A CapabilityStatement")},
            "security": [],
        }
    }
    for one in INTERACTIONS:
        if not one.path.endswith("/"):
            paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, operations)
    parts = found.setdefault("components", {})
    parts.setdefault("schemas", {})["Resource"] = {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"type": "string"}},
        "description": "A FHIR R4 resource, https://hl7.org/fhir/R4/resourcelist.html",
    }
    if secured:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _operation(one: Interaction, operations: Operations) -> dict[str, Any]:
    summary = (one.do.__doc__ or "").strip().splitlines()[0].rstrip(".")
    names = re.findall(r"\{(\w+)\}", one.path)
    made: dict[str, Any] = {
        "tags": ["fhir"],
        "summary": summary,
        "operationId": re.sub(r"\W+", "_", f"{one.method.lower()}{one.path}").rstrip("_"),
        "parameters": [*map(_part, names), *map(_header, _HEADERS[one.method])],
        "responses": {
            **{code: _answer("Done") for code in _SUCCESS[one.method]},
            "4XX": _answer("An OperationOutcome says what was wrong, and what to do"),
        },
    }
    for code in ("204", "304"):
        if code in made["responses"]:
            made["responses"][code] = {"description": "Nothing more to say"}
    if "name" in names:
        made["description"] = _offered(one.path, operations)
    if one.takes:
        made["requestBody"] = {
            "required": not one.optional,
            "content": {kind: {"schema": _schema(kind)} for kind in sorted(one.takes)},
        }
    return made


def _schema(kind: str) -> dict[str, Any]:
    if kind in FORM or "xml" in kind:
        return {"type": "string"}
    if kind == "application/json-patch+json":
        return {"type": "array", "items": {"type": "object"}}
    return {"type": "object"} if "patch" in kind else _REFERENCE


def _offered(path: str, operations: Operations) -> str:
    level = "instance" if "{id}" in path else "type" if "{type}" in path else "system"
    lines: Iterable[str] = (
        f"`{operations.place(one, level)}` {one.documentation}".rstrip()
        for one in operations.all
        if level in one.levels
    )
    return "\n\n".join(lines) or "None is offered here."


def _part(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": _PATTERNS[name]},
    }


def _header(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}}


def _answer(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {_JSON: {"schema": _REFERENCE}, _XML: {"schema": {"type": "string"}}},
    }
