-- What operators have done. A row is written before the act, and gets its outcome after it.
CREATE TABLE acts (
    -- Of version 7: newer acts have greater ids.
    id        UUID PRIMARY KEY,
    at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    who       TEXT NOT NULL,
    -- The API key, where one was shown.
    key_id    TEXT,
    via       TEXT NOT NULL,
    what      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    order_id  UUID,
    reason    TEXT,
    -- Null where the process ended before it knew.
    outcome   TEXT,
    -- When the order service has logged it.
    logged_at TIMESTAMPTZ
);

CREATE INDEX acts_unlogged ON acts (at) WHERE logged_at IS NULL;
