-- The lives of topics whose broker names each by an identity and numbers none.
CREATE TABLE ledger_topics (
    topic       TEXT COLLATE "C" NOT NULL,
    identity    TEXT COLLATE "C" NOT NULL, -- what the broker calls this life
    incarnation BIGINT           NOT NULL,
    PRIMARY KEY (topic, identity),
    UNIQUE (topic, incarnation)
);
