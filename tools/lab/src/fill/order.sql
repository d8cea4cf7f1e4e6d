INSERT INTO orders (id, customer_id, payment_method, total_amount, items, created_at, facts, status, updated_at)
SELECT order_id, md5('customer' || number % 50000)::UUID, 'credit_card', 49.90,
    '[{"product_id": "00000000-0000-0000-0000-000000000001", "quantity": 1, "unit_price": 49.90}]',
    at,
    jsonb_build_array(
        jsonb_build_object('event', 'order.created', 'event_id', created, 'at', at, 'caused_by', NULL,
            'detail', jsonb_build_object('payment_method', 'credit_card', 'total_amount', 49.90)),
        jsonb_build_object('event', 'payment.approved', 'event_id', approved,
            'at', at + INTERVAL '20 ms', 'caused_by', created,
            'detail', jsonb_build_object('amount', 49.90,
                'provider_ref', 'SIM-' || right(created::TEXT, 12))),
        jsonb_build_object('event', 'inventory.reserved', 'event_id', reserved,
            'at', at + INTERVAL '40 ms', 'caused_by', approved, 'detail', '{"units": 1}'::JSONB),
        jsonb_build_object('event', 'shipping.scheduled', 'event_id', scheduled,
            'at', at + INTERVAL '60 ms', 'caused_by', reserved,
            'detail', jsonb_build_object('tracking_code', 'TRK-' || right(order_id::TEXT, 8),
                'freight', 11.50, 'delivery_days', 3))),
    'CONFIRMED', at + INTERVAL '60 ms'
FROM past;

INSERT INTO idempotency_keys
SELECT event_id, event_type, order_id, pg_temp.digest(event_id), at
FROM past, LATERAL (VALUES (approved, 'payment.approved'), (reserved, 'inventory.reserved'),
    (scheduled, 'shipping.scheduled')) AS heard (event_id, event_type);
