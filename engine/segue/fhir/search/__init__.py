"""FHIR search: what is indexed of a resource, and what a query asks of the index."""
