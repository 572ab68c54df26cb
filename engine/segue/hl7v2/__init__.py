"""HL7 v2 as a language: bytes to messages, and messages to bytes; pure.

This floor knows how HL7 v2 is framed, spelt, repaired, read and answered. It knows
nothing of FHIR, of sites, or of what a message changes: that is for `segue.mapping`
and `segue.care`.

From the wire inwards: `mllp` takes frames apart, `batch` takes files apart, `peek`
reads an envelope before the acknowledgement, `normalise` repairs what real senders
do (each repair has a code in `normalise.WARNINGS`), `parse` makes a lazy `message`,
`paths` and `groups` read it, `times` and `events` say what it means; `ack` and
`write` go the other way.

Source: HL7 v2.5.1 chapters 2 and 3, with what v2.9.1 changed.
"""
