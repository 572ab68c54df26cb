"""Builds an engine from its settings: everything once, handed down, nothing global."""
