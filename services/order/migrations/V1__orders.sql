CREATE TABLE orders (
    id             UUID PRIMARY KEY,
    customer_id    UUID NOT NULL,
    payment_method TEXT NOT NULL,
    -- Derived from the facts, and kept for the list.
    status         TEXT NOT NULL CHECK (status IN ('PENDING', 'PAYMENT_APPROVED', 'PAYMENT_FAILED',
                       'PAYMENT_REVERSED', 'INVENTORY_RESERVED', 'INVENTORY_FAILED', 'SHIPPING_FAILED',
                       'CONFIRMED', 'CANCELLED')),
    total_amount   NUMERIC(16, 2) NOT NULL,
    tracking_code  TEXT,
    trace          TEXT,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL
);

CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);
-- For the list of those few that are, say, PENDING among millions that are not.
CREATE INDEX orders_status ON orders (status, created_at DESC, id DESC);
CREATE INDEX orders_customer ON orders (customer_id, created_at DESC, id DESC);

CREATE TABLE order_items (
    order_id   UUID NOT NULL REFERENCES orders,
    line       INTEGER NOT NULL,
    product_id UUID NOT NULL,
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    unit_price NUMERIC(16, 2) NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, line)
);

-- What the order has heard, its own two events included: one of each event. Its status is a function
-- of these rows and of nothing else.
CREATE TABLE order_facts (
    order_id  UUID NOT NULL REFERENCES orders,
    event     TEXT NOT NULL,
    event_id  UUID NOT NULL,
    at        TIMESTAMPTZ NOT NULL,
    caused_by UUID,
    detail    JSONB NOT NULL,
    PRIMARY KEY (order_id, event)
);

-- Answers to POST /orders, to be given again to the same Idempotency-Key. Only a 201 is stored.
CREATE TABLE http_idempotency_keys (
    key        TEXT PRIMARY KEY,
    digest     BYTEA NOT NULL,
    order_id   UUID NOT NULL,
    answer     TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- They are forgotten by age.
CREATE INDEX http_idempotency_keys_age ON http_idempotency_keys (created_at);
