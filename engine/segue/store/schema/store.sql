CREATE TABLE commits (
    tx INTEGER NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (tx)
);

CREATE INDEX commits_at ON commits (at);

CREATE UNIQUE INDEX commits_position ON commits (position);

CREATE TABLE counter (
    name TEXT NOT NULL,
    next BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE destination (
    name TEXT NOT NULL,
    paused SMALLINT NOT NULL,
    because TEXT,
    since BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE fact (
    id TEXT NOT NULL,
    entry BIGINT NOT NULL,
    kind TEXT NOT NULL,
    identity TEXT NOT NULL,
    visit TEXT,
    person BLOB NOT NULL,
    stay BLOB NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX fact_entry ON fact (entry);

CREATE INDEX fact_identity ON fact (identity);

CREATE TABLE head (
    id INTEGER NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE holder (
    log TEXT NOT NULL,
    name TEXT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (log, name)
)
 WITHOUT ROWID;

CREATE TABLE identity (
    "key" TEXT NOT NULL,
    person BIGINT NOT NULL,
    PRIMARY KEY ("key")
)
 WITHOUT ROWID;

CREATE TABLE inbox_exception (
    entry INTEGER NOT NULL,
    state TEXT NOT NULL,
    count BIGINT NOT NULL,
    issues TEXT NOT NULL,
    PRIMARY KEY (entry)
);

CREATE INDEX inbox_exception_state ON inbox_exception (state, entry);

CREATE TABLE lease (
    log TEXT NOT NULL,
    partition TEXT NOT NULL,
    cursor BIGINT NOT NULL,
    token BIGINT NOT NULL,
    holder TEXT,
    expires BIGINT NOT NULL,
    PRIMARY KEY (log, partition)
)
 WITHOUT ROWID;

CREATE TABLE mapping_set (
    digest TEXT NOT NULL,
    files BLOB NOT NULL,
    PRIMARY KEY (digest)
);

CREATE TABLE outbox (
    id INTEGER NOT NULL,
    partition TEXT NOT NULL,
    lane BIGINT NOT NULL,
    form TEXT NOT NULL,
    what TEXT NOT NULL,
    version BIGINT NOT NULL,
    cause TEXT NOT NULL,
    "after" TEXT,
    notice TEXT,
    PRIMARY KEY (id)
);

CREATE INDEX outbox_partition ON outbox (partition, id);

CREATE TABLE outbox_exception (
    id INTEGER NOT NULL,
    spot BIGINT NOT NULL,
    partition TEXT NOT NULL,
    lane BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    not_before BIGINT,
    category TEXT,
    status BIGINT,
    text TEXT,
    because TEXT,
    PRIMARY KEY (id)
);

CREATE INDEX outbox_exception_open ON outbox_exception (partition, spot) WHERE state IN ('delayed', 'blocked', 'dead');

CREATE INDEX outbox_exception_state ON outbox_exception (state, id);

CREATE TABLE outbox_receipt (
    id INTEGER NOT NULL,
    at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    status TEXT NOT NULL,
    message TEXT,
    PRIMARY KEY (id)
);

CREATE TABLE person (
    pk INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    revision BIGINT NOT NULL,
    merged_into BIGINT,
    state BLOB NOT NULL,
    PRIMARY KEY (pk)
);

CREATE UNIQUE INDEX person_key ON person ("key");

CREATE TABLE resource (
    pk INTEGER NOT NULL,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    tx BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    deleted SMALLINT NOT NULL,
    owner BIGINT,
    content BLOB NOT NULL,
    gist BLOB,
    terms BLOB,
    recorded BIGINT,
    control_id TEXT,
    PRIMARY KEY (pk)
);

CREATE UNIQUE INDEX resource_id ON resource (id, type);

CREATE INDEX resource_owner ON resource (owner) WHERE owner IS NOT NULL;

CREATE INDEX resource_type ON resource (type, pk);

CREATE TABLE search_date (
    param BIGINT NOT NULL,
    low BIGINT NOT NULL,
    high BIGINT NOT NULL,
    resource BIGINT NOT NULL,
    PRIMARY KEY (param, low, high, resource)
)
 WITHOUT ROWID;

CREATE INDEX search_date_resource ON search_date (resource);

CREATE TABLE search_string (
    param BIGINT NOT NULL,
    value TEXT NOT NULL,
    resource BIGINT NOT NULL,
    PRIMARY KEY (param, value, resource)
)
 WITHOUT ROWID;

CREATE INDEX search_string_resource ON search_string (resource);

CREATE TABLE search_token (
    hash BIGINT NOT NULL,
    resource BIGINT NOT NULL,
    PRIMARY KEY (hash, resource)
)
 WITHOUT ROWID;

CREATE TABLE step (
    id INTEGER NOT NULL,
    entry BIGINT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT,
    source TEXT NOT NULL,
    changes INTEGER NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX step_entry ON step (entry);

CREATE TABLE timer (
    person INTEGER NOT NULL,
    due BIGINT NOT NULL,
    PRIMARY KEY (person)
);

CREATE INDEX timer_due ON timer (due);

CREATE TABLE version (
    id INTEGER NOT NULL,
    resource BIGINT NOT NULL,
    version BIGINT NOT NULL,
    step INTEGER NOT NULL,
    body BLOB,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX version_resource ON version (resource, version);

CREATE TABLE visit (
    "key" TEXT NOT NULL,
    owner BIGINT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY ("key")
);

CREATE INDEX visit_owner ON visit (owner);
