"""The page at `/`: what this is, and how to ask it. One static text, no assets."""

from html import escape
from string import Template

from segue.api.operations import Operations

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Segue</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2733; background: #fff }
h1 { margin-bottom: 0 } h1 + p { margin-top: 0; color: #52606d }
code, pre { font-family: ui-monospace, monospace; background: #f0f4f8; border-radius: 4px }
code { padding: .1rem .3rem } pre { padding: .8rem; overflow-x: auto } pre code { padding: 0 }
a { color: #0b5cad } td { padding: .15rem 1rem .15rem 0; vertical-align: top }
</style>
<h1>Segue</h1>
<p>FHIR-native integration engine for case management · version $version</p>
<p>HL7 v2 messages and FHIR bundles go in. What comes out is one truthful picture of every stay,
the care work that each event calls for, and one coordinated plan for each person.</p>
<h2>Where to look</h2>
<table>
<tr><td><a href="/fhir/metadata?_pretty=true">/fhir/metadata</a>
    <td>what FHIR clients may ask for: $types resource types
<tr><td><a href="/openapi.json">/openapi.json</a><td>all paths, for tools
<tr><td><a href="/health">/health</a><td>each part of the engine, and its backlog
<tr><td><a href="/metrics">/metrics</a><td>figures for Prometheus
</table>
<h2>How to ask</h2>
<p>FHIR R4 (4.0.1) as JSON or XML below <code>/fhir</code>.$token</p>
<pre><code>$examples</code></pre>
<p>Every version is kept: ask <code>Patient/[id]/_history</code>. Write with
<code>POST</code>, <code>PUT</code>, <code>PATCH</code> (JSON Patch, JSON Merge Patch, FHIRPath
Patch) and <code>DELETE</code>, or many at once by a Bundle of type <code>transaction</code> or
<code>batch</code>. What cannot be done is answered with an OperationOutcome that says what to do
instead.</p>
$operations
$feeds
</html>
""")


_ASKED = (
    "Patient?name=doe",
    "Encounter?status=in-progress&_include=Encounter:patient",
    "Task?status=requested,accepted&_sort=authored-on",
    "CarePlan?category=assess-plan",
)


def page(
    base: str, version: str, types: int, operations: Operations, feeds: list[str], *, secured: bool
) -> str:
    """The page as HTML.

    Args:
        base: URL of FHIR, for the examples.
        types: how many resource types are stored.
        feeds: names of the feeds that take HL7 v2 over HTTP.
        secured: whether requests need a bearer token.
    """
    bearer = ' -H "Authorization: Bearer $TOKEN"' if secured else ""
    examples = [f"curl{bearer} '{base}/{one}'" for one in _ASKED]
    token = " Send your token as <code>Authorization: Bearer …</code>." if secured else ""
    rows = [
        f"<tr><td><code>{escape(operations.place(one, level))}</code>"
        f"<td>{escape(one.documentation)}"
        for one in operations.all
        for level in sorted(one.levels)
    ]
    listed = f"<h2>Operations</h2>\n<table>\n{chr(10).join(rows)}\n</table>" if rows else ""
    taken = [f"curl{bearer} --data-binary @message.hl7 '{base[:-5]}/hl7v2/{f}'" for f in feeds]
    sent = escape("\n".join(taken))
    over = f"<h2>HL7 v2</h2>\n<pre><code>{sent}</code></pre>" if feeds else ""
    return _PAGE.substitute(
        version=escape(version),
        types=types,
        token=token,
        examples=escape("\n".join(examples)),
        operations=listed,
        feeds=over,
    )
