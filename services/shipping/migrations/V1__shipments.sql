CREATE TABLE shipments (
    order_id      UUID PRIMARY KEY,
    status        TEXT NOT NULL CHECK (status IN ('SCHEDULED', 'FAILED', 'CANCELLED')),
    -- None where no carrier was ever asked.
    tracking_code TEXT,
    freight       NUMERIC(16, 2) NOT NULL,
    delivery_days SMALLINT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Orders whose cancel came before there was anything to ship.
CREATE TABLE cancel_marks (
    order_id  UUID PRIMARY KEY,
    marked_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
