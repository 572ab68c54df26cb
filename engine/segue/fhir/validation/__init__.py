"""Everything that can be said about a resource: profiles, terminology, extensions, advice.

gate (segue.fhir.validate): structure, required codes, invariants
  + Validator.refusals: the profiles that meta.profile names    -> what a write must pass
  + Validator.issues: codes, extensions, advice, any profile    -> what $validate answers
"""
