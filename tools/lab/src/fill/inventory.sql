INSERT INTO reservations
SELECT order_id, 'RESERVED', at, at
FROM past;

INSERT INTO reservation_items
SELECT order_id, '00000000-0000-0000-0000-000000000001', 1
FROM past;

UPDATE products
SET quantity_reserved = quantity_reserved + (SELECT COUNT(*) FROM past)
WHERE id = '00000000-0000-0000-0000-000000000001';

INSERT INTO idempotency_keys
SELECT approved, 'payment.approved', order_id, pg_temp.digest(approved), at
FROM past;
