CREATE TABLE products (
    id                UUID PRIMARY KEY,
    name              TEXT NOT NULL,
    quantity_total    BIGINT NOT NULL CHECK (quantity_total >= 0),
    quantity_reserved BIGINT NOT NULL DEFAULT 0,
    CHECK (quantity_reserved BETWEEN 0 AND quantity_total)
);

CREATE TABLE reservations (
    order_id   UUID PRIMARY KEY,
    status     TEXT NOT NULL CHECK (status IN ('RESERVED', 'RELEASED')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Without foreign keys: both rows are written, or locked, by the same transaction, and looking each of
-- them up once more is what would cost most here.
CREATE TABLE reservation_items (
    order_id   UUID NOT NULL,
    product_id UUID NOT NULL,
    quantity   BIGINT NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, product_id)
);

-- Orders that were told no: they stay refused, whatever comes into stock later.
CREATE TABLE refusals (
    order_id   UUID PRIMARY KEY,
    refused_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The demo's shelf; see the README for what each product is good for.
INSERT INTO products (id, name, quantity_total) VALUES
    ('00000000-0000-0000-0000-000000000001', 'Quill', 1000000000),
    ('00000000-0000-0000-0000-000000000002', 'Limited print', 10),
    ('00000000-0000-0000-0000-000000000003', 'Sold-out score', 0),
    ('00000000-0000-0000-0000-000000000004', 'Grand piano (no carrier takes it)', 1000000000);
