-- Of the warehouse, where a partition's rows go.
ALTER TABLE ledger_partitions ADD COLUMN shard BIGINT NOT NULL DEFAULT 0;
