INSERT INTO payments (order_id, status, payment_method, amount, items, attempts, provider_ref,
    caused_by, charge_key, created_at, updated_at)
SELECT order_id, 'APPROVED', 'credit_card', 49.90,
    '[{"product_id": "00000000-0000-0000-0000-000000000001", "quantity": 1, "unit_price": 49.90}]',
    1, 'SIM-' || right(created::TEXT, 12), created, created, at, at
FROM past;

INSERT INTO idempotency_keys
SELECT created, 'order.created', order_id, pg_temp.digest(created), at
FROM past;
