-- Messages that are being handled alone, since they may be what ends the process: see consume/alone.rs.
CREATE TABLE suspects (
    fingerprint BYTEA PRIMARY KEY,
    starts      INTEGER NOT NULL DEFAULT 1,
    started_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
