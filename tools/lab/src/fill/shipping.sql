INSERT INTO shipments
SELECT order_id, 'SCHEDULED', 'TRK-' || right(order_id::TEXT, 8), 11.50, 3, at, at
FROM past;

INSERT INTO idempotency_keys
SELECT reserved, 'inventory.reserved', order_id, pg_temp.digest(reserved), at
FROM past;
