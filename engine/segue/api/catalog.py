"""The operations that this engine offers: one line for each."""

from segue.api.operations import Operation, Operations

OFFERED: tuple[Operation, ...] = ()

OPERATIONS = Operations(OFFERED)
