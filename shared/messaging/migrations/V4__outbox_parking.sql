-- An event whose publication ended the session: it goes alone from then on, and is parked in the end,
-- so that it holds up no other. See relay.rs.
ALTER TABLE outbox
    ADD COLUMN failures  INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN parked_at TIMESTAMPTZ;
