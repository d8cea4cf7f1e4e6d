-- Keys of clients and operators, as digests: a key is shown once, when it is made.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    -- The name of whoever has it. Several keys of one client see the same orders.
    client     TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('client', 'viewer', 'operator')),
    digest     BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    revoked_at TIMESTAMPTZ
);

-- The client that placed it; null where no key was required.
ALTER TABLE orders ADD COLUMN client TEXT;

CREATE INDEX orders_client ON orders (client, id DESC) WHERE client IS NOT NULL;
