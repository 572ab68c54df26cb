"""Every kind of source and destination, by the name that `kind:` gives it.

To add a kind: write its module, add its line here, and the conformance kits in
`tests/contract` run it.
"""

from collections.abc import Mapping

from segue.adapters.destinations.fhir_rest import FhirRest, FhirRestConfig
from segue.adapters.destinations.message_bundle import MessageBundle, MessageBundleConfig
from segue.adapters.destinations.mllp import Mllp, MllpConfig
from segue.adapters.sources.folder import Folder, FolderConfig
from segue.adapters.sources.http import HttpIntake
from segue.adapters.sources.mllp import MllpListener, MllpListenerConfig

SOURCES: Mapping[str, tuple[type, type | None]] = {
    "mllp": (MllpListener, MllpListenerConfig),
    "folder": (Folder, FolderConfig),
    "http": (HttpIntake, None),
}
"""Kind to (class, configuration). `http` has no listener of its own; feeds of kind
`fhir` are served by the API."""

DESTINATIONS: Mapping[str, tuple[type, type]] = {
    "fhir_rest": (FhirRest, FhirRestConfig),
    "message_bundle": (MessageBundle, MessageBundleConfig),
    "mllp": (Mllp, MllpConfig),
}
"""Kind to (class, configuration)."""
