-- How far `saga verify --since-last` has checked the orders: one row. It is kept beside them, so that
-- a backup restores both to the same moment.
CREATE TABLE audit_progress (
    only_row   BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    state      JSONB NOT NULL,
    checked_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
