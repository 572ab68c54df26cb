"""Stories: patients' ways through a running engine, told message by message.

Each story talks to the engine only through its real interfaces: MLLP, HTTP, and the
servers of the peers that it delivers to. The acceptance tests assert every step; the
demo plays the same steps and shows what happens.
"""
