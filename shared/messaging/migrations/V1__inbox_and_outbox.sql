-- What this service has handled: a message whose key is here changes nothing any more. An event's id
-- begins with its time, so a day's keys are a partition, which is dropped whole: see partitions.rs.
CREATE TABLE idempotency_keys (
    event_id   UUID PRIMARY KEY,
    event_type TEXT NOT NULL,
    order_id   UUID NOT NULL,
    digest     BYTEA NOT NULL,
    handled_at TIMESTAMPTZ NOT NULL DEFAULT now()
) PARTITION BY RANGE (event_id);

-- What this service has said and the broker has not yet confirmed.
CREATE TABLE outbox (
    event_id   UUID PRIMARY KEY,
    event_type TEXT NOT NULL,
    version    INTEGER NOT NULL,
    order_id   UUID NOT NULL,
    body       TEXT NOT NULL,
    caused_by  UUID,
    trace      TEXT,
    attempts   INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    -- Until then the process that wrote the row is trusted to publish it; then any may.
    due_at     TIMESTAMPTZ NOT NULL DEFAULT now() + INTERVAL '2 seconds'
);

CREATE INDEX outbox_due ON outbox (due_at);
