INSERT INTO past
SELECT number, at,
    pg_temp.id(at, md5('order' || salt)),
    pg_temp.id(at, md5('created' || salt)),
    pg_temp.id(at + INTERVAL '20 ms', md5('approved' || salt)),
    pg_temp.id(at + INTERVAL '40 ms', md5('reserved' || salt)),
    pg_temp.id(at + INTERVAL '60 ms', md5('scheduled' || salt))
FROM (
    SELECT number,
        $1::TIMESTAMPTZ + number * $2 * INTERVAL '1 ms' AS at,
        $1::TEXT || number AS salt
    FROM generate_series($3::BIGINT, $4) AS number) AS numbered
