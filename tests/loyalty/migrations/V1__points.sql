-- What was given for an order, one row an order.
CREATE TABLE points (
    order_id UUID PRIMARY KEY,
    points   BIGINT NOT NULL CHECK (points >= 0),
    expired  BOOLEAN NOT NULL DEFAULT FALSE,
    given_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX points_good ON points (given_at) WHERE NOT expired;
