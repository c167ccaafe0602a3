-- How the records of a topic are spread over its partitions.
CREATE TABLE placements (
    topic       TEXT   NOT NULL,
    incarnation BIGINT NOT NULL, -- the 64 bits of an unsigned number
    partitions  BIGINT NOT NULL, -- in the beginning
    grown       TEXT   NOT NULL, -- a JSON array: how many there were after each growth, and where the old ones ended
    growing_to  BIGINT,          -- NULL: none is under way
    paused      BIGINT NOT NULL, -- 1: writers stand still for it
    version     BIGINT NOT NULL, -- rises with each change
    PRIMARY KEY (topic, incarnation)
);

-- The processes that append to a topic, or did when they were heard of last.
CREATE TABLE writers (
    topic       TEXT   NOT NULL,
    incarnation BIGINT NOT NULL,
    name        TEXT   NOT NULL,
    version     BIGINT NOT NULL, -- of the placement that it acts by
    holds_ms    BIGINT NOT NULL, -- for how long it goes by what it knows of one that doesn't change
    heard_ms    BIGINT NOT NULL, -- by its own clock
    PRIMARY KEY (topic, incarnation, name)
);
