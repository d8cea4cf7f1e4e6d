-- What a person has done for good about a dead letter of this service. Written before it is done, so
-- that the checks can account for whatever became of the message.
CREATE TABLE dead_letter_actions (
    -- The queue that was to be handled, and the message as it was: anyone may publish anything.
    queue        TEXT NOT NULL,
    message_id   TEXT NOT NULL,
    digest       BYTEA NOT NULL,
    action       TEXT NOT NULL CHECK (action IN ('purged', 'repaired')),
    event_type   TEXT,
    order_id     UUID,
    -- Why it was dead.
    reason       TEXT,
    -- What a repaired message goes on as.
    new_event_id UUID,
    new_digest   BYTEA,
    at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, message_id, digest),
    CHECK ((action = 'repaired') = (new_event_id IS NOT NULL AND new_digest IS NOT NULL))
);
