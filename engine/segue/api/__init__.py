"""The HTTP face: FHIR under /fhir, HL7 v2 under /hl7v2, the engine's own under /-."""
