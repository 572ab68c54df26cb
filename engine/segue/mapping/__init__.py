"""HL7 v2 messages to facts, by rules that a site can read and change."""
