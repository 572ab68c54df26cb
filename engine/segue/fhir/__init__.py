"""FHIR R4 as a language: structure, references, search, outcomes. Decides, never acts."""
