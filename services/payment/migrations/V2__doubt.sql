-- A charge may have been made without anybody having heard of it: until the provider says what became
-- of it, the payment is in doubt, and must not fail.
ALTER TABLE payments
    ADD COLUMN next_call TEXT NOT NULL DEFAULT 'CHARGE'
        CHECK (next_call IN ('CHARGE', 'LOOK_UP', 'VOID')),
    ADD COLUMN in_doubt BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN look_ups INTEGER NOT NULL DEFAULT 0;
