-- The lives of topics whose broker names each by an identity and numbers none.
CREATE TABLE ledger_topics (
    topic       TEXT   NOT NULL,
    identity    TEXT   NOT NULL, -- what the broker calls this life
    incarnation BIGINT NOT NULL,
    PRIMARY KEY (topic, identity),
    UNIQUE (topic, incarnation)
);
