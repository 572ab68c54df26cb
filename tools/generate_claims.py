"""What a server must do to claim another's CapabilityStatement, as compact facts.

Writes `definitions/claims.json`: canonical URL to resource type to what is marked SHALL:
interactions, search parameters, and operations; and under `*` the security that the guide's
pages ask for.

    python tools/generate_claims.py ../shared/data/definitions/us_core_610.tgz
"""

import json
import sys
from pathlib import Path
from typing import Any

from tools.generate_definitions import resources

FACTS = Path(__file__).resolve().parents[1] / "fhir_profiles" / "definitions"
_EXPECTATION = "/capabilitystatement-expectation"
_SECURITY = {"*": {"security": ["SMART-on-FHIR"]}}
_COMBINATION = "/capabilitystatement-search-parameter-combination"


def shall(element: dict[str, Any]) -> bool:
    """Whether an element is marked SHALL."""
    return any(
        one["url"].endswith(_EXPECTATION) and one.get("valueCode") == "SHALL"
        for one in element.get("extension", [])
    )


def required(resource: dict[str, Any]) -> dict[str, list[str]]:
    """What a statement requires of one type."""
    search = {one["name"] for one in resource.get("searchParam", []) if shall(one)}
    for one in resource.get("extension", []):
        if one["url"].endswith(_COMBINATION) and shall(one):
            search |= {
                part["valueString"] for part in one["extension"] if part["url"] == "required"
            }
    found = {
        "interaction": sorted(o["code"] for o in resource.get("interaction", []) if shall(o)),
        "search": sorted(search),
        "operation": sorted(o["name"] for o in resource.get("operation", []) if shall(o)),
    }
    return {name: values for name, values in found.items() if values}


def main(packages: list[Path]) -> None:
    """Write the file."""
    claims = {
        one["url"]: _SECURITY
        | {
            resource["type"]: needed
            for resource in one["rest"][0]["resource"]
            if (needed := required(resource))
        }
        for package in packages
        for one in resources(package)
        if one["resourceType"] == "CapabilityStatement" and one["rest"][0]["mode"] == "server"
    }
    lines = ",\n".join(
        f"{json.dumps(url)}:{{\n"
        + ",\n".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in sorted(types.items()))
        + "\n}"
        for url, types in sorted(claims.items())
    )
    (FACTS / "claims.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:] or ["../shared/data/definitions/us_core_610.tgz"]])
