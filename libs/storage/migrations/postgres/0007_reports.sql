-- Questions that are asked again and again.
CREATE TABLE reports (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant        TEXT COLLATE "C" NOT NULL,
    app           TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT           NOT NULL,
    next_at_ms    BIGINT,                    -- NULL: it has ended
    terms         TEXT COLLATE "C" NOT NULL, -- a JSON object
    FOREIGN KEY (tenant, app) REFERENCES apps (tenant, id)
);
CREATE INDEX reports_by_age ON reports (tenant, created_at_ms, id);
CREATE INDEX reports_due ON reports (next_at_ms);

-- Each time that one was due.
CREATE TABLE report_runs (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    report          TEXT COLLATE "C" NOT NULL,
    scheduled_at_ms BIGINT           NOT NULL,
    due_at_ms       BIGINT,                    -- when something is to be done for it; NULL: nothing more is
    progress        TEXT COLLATE "C" NOT NULL, -- a JSON object
    UNIQUE (report, scheduled_at_ms)
);
CREATE INDEX report_runs_due ON report_runs (due_at_ms);
