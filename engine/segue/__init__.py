"""Segue: a FHIR-native integration engine for case management."""

__version__ = "0.1.0"
