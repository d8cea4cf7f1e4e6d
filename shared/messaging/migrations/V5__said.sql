-- What this service has said and the broker has confirmed, for a service that joins later. A day is a
-- partition, which is dropped whole after HISTORY_DAYS: see history.rs and partitions.rs.
CREATE TABLE said (
    event_id   UUID PRIMARY KEY,
    event_type TEXT NOT NULL,
    version    INTEGER NOT NULL,
    order_id   UUID NOT NULL,
    body       TEXT NOT NULL,
    caused_by  UUID,
    trace      TEXT
) PARTITION BY RANGE (event_id);
