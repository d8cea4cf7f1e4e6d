-- Amounts, states and the work that is due, one row an order.
CREATE TABLE payments (
    order_id         UUID PRIMARY KEY,
    status           TEXT NOT NULL CHECK (status IN ('PENDING', 'PROCESSING', 'APPROVED', 'DECLINED',
                         'RETRYING', 'FAILED', 'REVERSING', 'REVERSED')),
    payment_method   TEXT NOT NULL,
    amount           NUMERIC(16, 2) NOT NULL,
    items            JSONB NOT NULL,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    attempts         INTEGER NOT NULL DEFAULT 0,
    refund_attempts  INTEGER NOT NULL DEFAULT 0,
    provider_ref     TEXT,
    refund_ref       TEXT,
    last_error       TEXT,
    -- What the work in hand was started by, and names as its cause when it is done.
    caused_by        UUID NOT NULL,
    trace            TEXT,
    -- The provider's idempotency key: one charge, one refund.
    charge_key       UUID NOT NULL,
    refund_key       UUID,
    -- When the charge desk is to take it up; null: nothing to do.
    due_at           TIMESTAMPTZ,
    -- Who has it in hand, and since when. Only he may write the verdict.
    claim            UUID,
    claimed_at       TIMESTAMPTZ,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at       TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX payments_claimed ON payments (claimed_at) WHERE claim IS NOT NULL;
