"""A FHIR server as peers run it: small, strict, in memory; a practice, an HIE, a payer.

It does what a delivery needs: transaction and batch Bundles, conditional create and
update, If-Match, references resolved as FHIR R4 says (https://hl7.org/fhir/R4/http.html
#transaction): `urn:uuid` of the same Bundle, conditional references, and (strict) no
literal reference to something it does not hold. It records what it got.

As a process: `python -m tests.peers.fhir --port 9101`; `GET /-/stats`,
`GET /-/received`, `POST /-/faults`, `POST /-/clear` are its control surface.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from tests.peers.faults import Fault, Faults
from tests.peers.web import Request, Response, WebServer, json_response, run, told_to_stop

Resource = dict[str, Any]


class RefusalError(Exception):
    """A request that the server does not do; becomes an OperationOutcome."""

    def __init__(self, status: int, code: str, text: str) -> None:
        self.status = status
        self.code = code
        self.text = text
        super().__init__(text)


@dataclass(slots=True)
class Write:
    """One resource version that a client wrote.

    Attributes:
        idempotency_key: of the request's header. request: number of the request.
        reference: of the stored resource; identifier: `system|value` it was found by.
    """

    request: int
    idempotency_key: str
    method: str
    url: str
    reference: str
    version: int
    identifier: str
    resource: Resource


@dataclass
class FhirPeer:
    """The server.

    Attributes:
        strict: refuse literal references to resources that it does not hold.
        keep: keep bodies; False counts and indexes only (for load).
        writes: every accepted write in order; requests: every request seen.
        seen: idempotency key to how often an accepted request carried it.
        token: bearer token that is asked for, None for none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    strict: bool = True
    keep: bool = True
    token: str | None = None
    base: str = "/fhir"
    writes: list[Write] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    count: int = 0
    requests: int = 0
    refused: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    faults: Faults = field(default_factory=Faults)
    versions: dict[str, list[Resource]] = field(default_factory=dict)
    identifiers: dict[str, str] = field(default_factory=dict)
    numbers: int = 0
    server: WebServer | None = None

    async def start(self) -> "FhirPeer":
        self.server = await WebServer(self.answer, self.host, self.port).start()
        self.port = self.server.port
        return self

    async def stop(self) -> None:
        if self.server:
            await self.server.stop()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}{self.base}"

    # requests

    def answer(self, request: Request) -> Response:
        if request.path.startswith("/-/"):
            return self.control(request)
        self.requests += 1
        fault = self.faults.take(request.body) if self.faults.planned else None
        if fault is not None and not fault.after:
            return self.misbehave(fault, None)
        response = self.serve(request)
        return response if fault is None else self.misbehave(fault, response)

    def misbehave(self, fault: Fault, response: Response | None) -> Response:
        match fault.kind:
            case "status":
                self.refused += 1
                body = _outcome("transient", "planned fault")
                return Response(fault.status, body, dict(fault.headers))
            case "delay" | "late":
                answer = response or Response(503, _outcome("timeout", "planned fault"))
                answer.delay = fault.seconds
                return answer
            case "hang-up":
                return Response(hang_up=True)
            case "junk":
                return Response(200, b"<html>not FHIR</html>", {"content-type": "text/html"})
            case _:
                return Response(silent=True)

    def serve(self, request: Request) -> Response:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return Response(401, _outcome("login", "no or wrong token"))
        if not request.path.startswith(self.base):
            return Response(404, _outcome("not-found", "no such path"))
        path = unquote(request.path[len(self.base) :]).strip("/")
        key = request.headers.get("idempotency-key", "")
        try:
            if request.method == "GET":
                return self.read(path, request.query)
            body = orjson.loads(request.body) if request.body else {}
            if path == "$process-message":
                return self.message(body, key)
            if request.method == "POST" and not path:
                done, answer = self.bundle(body, key)
            else:
                url = f"{path}?{request.query}" if request.query else path
                ask = {"method": request.method, "url": url}
                for name, header in (("ifMatch", "if-match"), ("ifNoneExist", "if-none-exist")):
                    if header in request.headers:
                        ask[name] = request.headers[header]
                done, entries = self.transact([{"request": ask, "resource": body}], key)
                answer = entries[0]["response"] | {"resource": done[0].resource if done else {}}
                return self.single(answer, done, key)
        except orjson.JSONDecodeError:
            return Response(400, _outcome("structure", "not JSON"))
        except RefusalError as refusal:
            self.refused += 1
            return Response(refusal.status, _outcome(refusal.code, refusal.text))
        self.accept(done, key)
        return Response(200, orjson.dumps(answer))

    def message(self, body: Resource, key: str) -> Response:
        """Take a notification; what it says is kept as one write, by its header's id."""
        entries = body.get("entry") or [{}]
        header = entries[0].get("resource") or {}
        if body.get("type") != "message" or header.get("resourceType") != "MessageHeader":
            raise RefusalError(400, "structure", "no message")
        reference = f"MessageHeader/{header['id']}"
        version = len(self.versions.setdefault(reference, []))
        self.versions[reference].append(header)
        write = Write(self.requests, key, "POST", "$process-message", reference, version + 1,
                      header["id"], body)  # fmt: skip
        self.accept([write], key)
        response = {"identifier": header["id"], "code": "ok"}
        answer = {**header, "response": response}
        return Response(200, orjson.dumps({
            "resourceType": "Bundle", "type": "message", "entry": [{"resource": answer}],
        }))  # fmt: skip

    def single(self, answer: Resource, done: list[Write], key: str) -> Response:
        self.accept(done, key)
        status = int(answer["status"][:3])
        headers = {k: answer[f] for k, f in (("location", "location"), ("etag", "etag"))
                   if f in answer}  # fmt: skip
        return Response(status, orjson.dumps(answer["resource"]), headers)

    def accept(self, done: list[Write], key: str) -> None:
        self.last_at = time.monotonic()
        self.first_at = self.first_at or self.last_at
        self.count += len(done)
        self.seen[key] = self.seen.get(key, 0) + 1
        if self.keep:
            self.writes.extend(done)

    # reads

    def read(self, path: str, query: str) -> Response:
        if path == "metadata":
            return json_response({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"})
        parts = path.split("/")
        if len(parts) == 1:
            return json_response(self.search(parts[0], parse_qs(query)))
        versions = self.versions.get("/".join(parts[:2]))
        if not versions:
            return Response(404, _outcome("not-found", f"no {path}"))
        number = int(parts[3]) if len(parts) == 4 else len(versions)
        body = versions[number - 1]
        return Response(200, orjson.dumps(body), {"etag": f'W/"{number}"'})

    def search(self, type_: str, query: dict[str, list[str]]) -> Resource:
        found = []
        if "identifier" in query:
            reference = self.identifiers.get(f"{type_}?{query['identifier'][0]}")
            found = [reference] if reference else []
        else:
            found = [r for r in self.versions if r.startswith(type_ + "/")]
        entries = [{"fullUrl": f"{self.url}/{r}", "resource": self.versions[r][-1]} for r in found]
        return {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(entries),
            "entry": entries,
        }

    def current(self, identifier: str, type_: str) -> Resource | None:
        """The newest version of what has this `system|value`."""
        reference = self.identifiers.get(f"{type_}?{identifier}")
        return self.versions[reference][-1] if reference else None

    # writes

    def bundle(self, body: Resource, key: str) -> tuple[list[Write], Resource]:
        kind = body.get("type")
        if body.get("resourceType") != "Bundle" or kind not in ("transaction", "batch"):
            raise RefusalError(400, "invalid", "expected a Bundle of type transaction or batch")
        entries = body.get("entry", [])
        if kind == "transaction":
            done, answers = self.transact(entries, key)
        else:
            done, answers = [], []
            for entry in entries:
                try:
                    more, answer = self.transact([entry], key)
                except RefusalError as refusal:
                    outcome = orjson.loads(_outcome(refusal.code, refusal.text))
                    answer = [{"response": {"status": str(refusal.status), "outcome": outcome}}]
                else:
                    done += more
                answers += answer
        return done, {"resourceType": "Bundle", "type": f"{kind}-response", "entry": answers}

    def transact(self, entries: list[Resource], key: str) -> tuple[list[Write], list[Resource]]:
        """All entries or none, in FHIR's order: find targets, resolve references, write."""
        targets: list[tuple[str, int, str]] = []
        full_urls: dict[str, str] = {}
        taken: set[str] = set()
        fresh: dict[str, str] = {}
        for entry in entries:
            reference, version, identifier = self.target(entry, fresh)
            if reference and reference in taken:
                raise RefusalError(400, "invalid", f"{reference} twice in one transaction")
            taken.add(reference)
            targets.append((reference, version, identifier))
            if "fullUrl" in entry:
                full_urls[entry["fullUrl"]] = reference
        for entry in entries:
            self.resolve(entry.get("resource"), full_urls, taken, fresh)
        done, answers = [], []
        for entry, (reference, version, identifier) in zip(entries, targets, strict=True):
            ask = entry["request"]
            if ask["method"] == "GET":
                answers.append({"resource": self.versions[reference][-1],
                                "response": {"status": "200 OK"}})  # fmt: skip
                continue
            if ask["method"] == "DELETE":
                if version > 0:
                    done.append(self.delete(reference, version, identifier, ask, key))
                answers.append({"response": {"status": "204 No Content"}})
                continue
            if version < 0:  # a conditional create that found one
                answers.append({"response": {"status": "200 OK", "location": reference}})
                continue
            resource = entry["resource"]
            done.append(self.put(resource, reference, version, identifier, ask, key))
            new = version + 1
            answers.append({"response": {
                "status": "200 OK" if version else "201 Created",
                "location": f"{reference}/_history/{new}", "etag": f'W/"{new}"',
            }})  # fmt: skip
        return done, answers

    def target(self, entry: Resource, fresh: dict[str, str]) -> tuple[str, int, str]:
        """The reference that an entry writes, its present version, and how it was named."""
        ask = entry.get("request", {})
        url, method = unquote(ask.get("url", "")), ask.get("method")
        path, _, query = url.partition("?")
        type_, _, id_ = path.partition("/")
        resource = entry.get("resource") or {}
        if method not in ("GET", "DELETE") and resource.get("resourceType") != type_:
            raise RefusalError(400, "invalid", f"{url}: the resource is of another type")
        identifier = ""
        if method == "POST":
            query = ask.get("ifNoneExist", "").partition("?")[2] or ask.get("ifNoneExist", "")
        if query:
            name, _, identifier = query.partition("=")
            if name != "identifier" or "|" not in identifier:
                raise RefusalError(400, "not-supported", f"cannot match by {name}")
            found = self.identifiers.get(f"{type_}?{identifier}")
            if found is None and method == "DELETE":
                return "", 0, identifier
            if found is None:
                if method == "PUT" and f"{type_}?{identifier}" not in _named(resource, type_):
                    raise RefusalError(
                        422, "invariant", f"{url}: the resource lacks this identifier"
                    )
                if resource.get("id"):
                    raise RefusalError(422, "invariant", f"{url}: must not bring an id")
                found = self.new_reference(type_)
                fresh[f"{type_}?{identifier}"] = found
            elif method == "POST":
                return found, -1, identifier
        elif method == "POST":
            found = self.new_reference(type_)
        elif not id_:
            raise RefusalError(400, "invalid", f"{method} {url}: no id and no condition")
        else:
            found = path
            if method == "PUT" and resource.get("id") != id_:
                raise RefusalError(400, "invalid", f"{url}: the resource has another id")
        version = len(self.versions.get(found, ()))
        if method == "GET" and not version:
            raise RefusalError(404, "not-found", f"no {url}")
        if (match := ask.get("ifMatch")) and match != f'W/"{version}"':
            raise RefusalError(412, "conflict", f"{url}: is at version {version}")
        return found, version, identifier

    def new_reference(self, type_: str) -> str:
        self.numbers += 1
        return f"{type_}/p{self.numbers}"

    def resolve(
        self,
        value: Any,
        full_urls: dict[str, str],
        taken: set[str],
        fresh: dict[str, str],
    ) -> None:
        """Make references literal, in place."""
        if isinstance(value, list):
            for item in value:
                self.resolve(item, full_urls, taken, fresh)
            return
        if not isinstance(value, dict):
            return
        for item in value.values():
            if isinstance(item, (dict, list)):
                self.resolve(item, full_urls, taken, fresh)
        reference = value.get("reference")
        if not isinstance(reference, str) or reference.startswith(("#", "http:", "https:")):
            return
        if reference.startswith("urn:"):
            if reference not in full_urls:
                raise RefusalError(400, "invalid", f"{reference} is not in this Bundle")
            value["reference"] = full_urls[reference]
        elif "?identifier=" in reference:
            type_, _, condition = unquote(reference).partition("?")
            name = f"{type_}?{condition.partition('=')[2]}"
            found = fresh.get(name) or self.identifiers.get(name)
            if found is None:
                raise RefusalError(412, "not-found", f"{reference} matches nothing")
            value["reference"] = found
        elif self.strict and reference not in taken and reference not in self.versions:
            raise RefusalError(422, "not-found", f"{reference} is not known here")

    def put(
        self,
        resource: Resource,
        reference: str,
        version: int,
        identifier: str,
        ask: Resource,
        key: str,
    ) -> Write:
        type_, _, id_ = reference.partition("/")
        resource["id"] = id_
        meta = resource.setdefault("meta", {})
        meta["versionId"] = str(version + 1)
        for name in _named(resource, type_):
            self.identifiers[name] = reference
        versions = self.versions.setdefault(reference, [])
        versions.append(resource if self.keep else {"id": id_})
        return Write(
            self.requests, key, ask["method"], ask["url"], reference, version + 1,
            identifier, resource,
        )  # fmt: skip

    def delete(
        self, reference: str, version: int, identifier: str, ask: Resource, key: str
    ) -> Write:
        self.versions.pop(reference)
        for name in [n for n, r in self.identifiers.items() if r == reference]:
            del self.identifiers[name]
        return Write(
            self.requests, key, "DELETE", ask["url"], reference, version + 1, identifier, {}
        )

    # control

    def control(self, request: Request) -> Response:
        match request.method, request.path:
            case "GET", "/-/stats":
                return json_response(self.stats())
            case "GET", "/-/received":
                return json_response([asdict(write) for write in self.writes])
            case "POST", "/-/faults":
                value = json.loads(request.body)
                value["match"] = value.get("match", "").encode()
                self.faults.add(Fault(**value))
                return json_response({"planned": len(self.faults.planned)})
            case "POST", "/-/clear":
                self.faults.clear()
                self.writes.clear()
                self.seen.clear()
                self.count = self.requests = self.refused = 0
                self.first_at = self.last_at = 0.0
                return json_response({})
        return json_response({"error": "no such place"}, 404)

    def stats(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "resources": len(self.versions),
            "requests": self.requests,
            "refused": self.refused,
            "repeated": sum(n - 1 for n in self.seen.values()),
            "first_at": self.first_at,
            "last_at": self.last_at,
            "cpu_seconds": time.process_time(),
        }


def _named(resource: Resource, type_: str) -> list[str]:
    identifiers = resource.get("identifier", ())
    if isinstance(identifiers, dict):
        identifiers = (identifiers,)
    return [f"{type_}?{i.get('system', '')}|{i.get('value', '')}" for i in identifiers]


def _outcome(code: str, text: str) -> bytes:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]})


async def _main(arguments: argparse.Namespace) -> None:
    peer = await FhirPeer(
        arguments.host,
        arguments.port,
        strict=not arguments.lenient,
        keep=not arguments.count_only,
        token=arguments.token,
    ).start()
    print(json.dumps({"port": peer.port, "url": peer.url}), flush=True)
    await told_to_stop()
    await peer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token")
    parser.add_argument("--lenient", action="store_true", help="accept dangling references")
    parser.add_argument("--count-only", action="store_true", help="keep no bodies")
    arguments = parser.parse_args()
    run(lambda: _main(arguments))


if __name__ == "__main__":
    main()
