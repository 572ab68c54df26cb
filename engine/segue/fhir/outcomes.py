"""Issues as OperationOutcome, and the one table from category to HTTP status.

    FhirError
    └─ category: incorrect, unauthorised, forbidden, not-found, not-acceptable, conflict,
       gone, precondition, too-large, unsupported-media, unprocessable, throttled

Sources: https://hl7.org/fhir/R4/operationoutcome.html, https://hl7.org/fhir/R4/http.html
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from segue.model.issues import Issue

Category = Literal[
    "incorrect",
    "unauthorised",
    "forbidden",
    "not-found",
    "not-allowed",
    "not-acceptable",
    "conflict",
    "gone",
    "precondition",
    "too-large",
    "unsupported-media",
    "unprocessable",
    "throttled",
]

STATUS: dict[str, int] = {
    "incorrect": 400,
    "unauthorised": 401,
    "forbidden": 403,
    "not-found": 404,
    "not-allowed": 405,
    "not-acceptable": 406,
    "conflict": 409,
    "gone": 410,
    "precondition": 412,
    "too-large": 413,
    "unsupported-media": 415,
    "unprocessable": 422,
    "throttled": 429,
}
"""Category of an error to HTTP status."""

# https://hl7.org/fhir/R4/valueset-issue-type.html
_TYPE_CODES = (
    "invalid structure required value invariant security login unknown expired forbidden"
    " suppressed processing not-supported duplicate multiple-matches not-found deleted too-long"
    " code-invalid extension too-costly business-rule conflict transient lock-error no-store"
    " exception timeout incomplete throttled informational"
)
_TYPES = frozenset(_TYPE_CODES.split())
_TYPE_OF = {
    "unknown-type": "structure",
    "unknown-element": "structure",
    "not-an-object": "structure",
    "not-a-list": "structure",
    "cardinality": "structure",
    "choice": "structure",
    "empty": "structure",
    "null": "structure",
    "bad-value": "value",
    "unknown-code": "code-invalid",
    "reference-target": "value",
    "not-owned": "business-rule",
    "not-owner": "business-rule",
    "transition": "business-rule",
    "output-required": "business-rule",
    "output-unfit": "business-rule",
}


class FhirError(Exception):
    """A request that cannot be answered as asked.

    Attributes:
        category: key of `STATUS`.
        issues: what, where, and what to do next; without patient data.
        status: HTTP status.
        headers: to be sent with the answer, such as `ETag` of what was deleted.
    """

    def __init__(self, category: str, issues: Sequence[Issue]) -> None:
        self.category = category
        self.issues = tuple(issues)
        self.status = STATUS[category]
        self.headers: dict[str, str] = {}
        super().__init__("; ".join(issue.text for issue in issues) or category)


def fhir_error(category: Category, code: str, text: str, where: str = "") -> FhirError:
    """An error with one issue.

    >>> fhir_error("gone", "deleted", "the resource was deleted").status
    410
    """
    return FhirError(category, (Issue("error", code, where, text),))


def issue_type(code: str) -> str:
    """The IssueType of an issue's code.

    >>> issue_type("unknown-code"), issue_type("not-found"), issue_type("odd")
    ('code-invalid', 'not-found', 'processing')
    """
    if code in _TYPES:
        return code
    return _TYPE_OF.get(code, "processing")


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome; without issues it says that all is well.

    >>> outcome([])["issue"][0]["code"]
    'informational'
    """
    listed = []
    for issue in issues:
        entry: dict[str, Any] = {
            "severity": issue.severity,
            "code": issue_type(issue.code),
            "details": {"text": issue.text},
            "diagnostics": issue.text,
        }
        if issue.code not in _TYPES:
            entry["details"]["coding"] = [{"system": "urn:segue:issue", "code": issue.code}]
        if issue.where:
            entry["expression"] = [issue.where]
        listed.append(entry)
    if not listed:
        listed.append(
            {"severity": "information", "code": "informational", "details": {"text": "All OK"}}
        )
    return {"resourceType": "OperationOutcome", "issue": listed}
