-- One row an order, written once and then brought forward in place: no index stands on a column that
-- changes before the end, and half of each page is left free, so that most updates touch nothing else.
CREATE TABLE orders (
    -- Of version 7: newer orders have greater ids.
    id             UUID PRIMARY KEY,
    customer_id    UUID NOT NULL,
    payment_method TEXT NOT NULL,
    total_amount   NUMERIC(16, 2) NOT NULL CHECK (total_amount >= 0),
    items          JSONB NOT NULL,
    trace          TEXT,
    created_at     TIMESTAMPTZ NOT NULL,
    -- What the order has heard, its own two events included: one of each event. Its status is a function
    -- of these and of nothing else.
    facts          JSONB NOT NULL,
    -- Derived from the facts, and kept for the list.
    status         TEXT NOT NULL CHECK (status IN ('PENDING', 'PAYMENT_APPROVED', 'PAYMENT_FAILED',
                       'PAYMENT_REVERSED', 'INVENTORY_RESERVED', 'INVENTORY_FAILED', 'SHIPPING_FAILED',
                       'CONFIRMED', 'CANCELLED')),
    updated_at     TIMESTAMPTZ NOT NULL,
    -- The status it has ended in; null while it runs.
    outcome        TEXT GENERATED ALWAYS AS (CASE
                       WHEN status IN ('CONFIRMED', 'PAYMENT_FAILED', 'CANCELLED') THEN status END) STORED
) WITH (fillfactor = 50);

-- For the list of those few that run, or have failed, among millions that are confirmed.
CREATE INDEX orders_outcome ON orders (outcome, id DESC);
CREATE INDEX orders_customer ON orders (customer_id, id DESC);

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

-- The items as lines, for whoever looks into the database.
CREATE VIEW order_items AS
    SELECT id AS order_id, line::INTEGER, (item ->> 'product_id')::UUID AS product_id,
        (item ->> 'quantity')::INTEGER AS quantity, (item ->> 'unit_price')::NUMERIC(16, 2) AS unit_price
    FROM orders, jsonb_array_elements(items) WITH ORDINALITY AS lines (item, line);
