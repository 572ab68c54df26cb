CREATE TABLE entry (
    id INTEGER NOT NULL,
    received BIGINT NOT NULL,
    lane SMALLINT NOT NULL,
    feed TEXT NOT NULL,
    site TEXT NOT NULL,
    sender TEXT NOT NULL,
    control_id TEXT NOT NULL,
    event TEXT NOT NULL,
    digest BLOB NOT NULL,
    quarantined TEXT,
    reused SMALLINT NOT NULL,
    ack_code TEXT NOT NULL,
    size BIGINT NOT NULL,
    raw BLOB NOT NULL,
    ack BLOB NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX entry_identity ON entry (control_id, sender);

CREATE INDEX entry_lane ON entry (lane, id);

CREATE INDEX entry_received ON entry (received);

CREATE TABLE entry_answer (
    entry INTEGER NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (entry)
);

CREATE TABLE entry_duplicate (
    id INTEGER NOT NULL,
    entry BIGINT NOT NULL,
    at BIGINT NOT NULL,
    feed TEXT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX entry_duplicate_entry ON entry_duplicate (entry);

CREATE TABLE journal_head (
    id INTEGER NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (id)
);
