-- Orders of the past by their numbers: the same in every database, since ids are made of the numbers.
CREATE FUNCTION pg_temp.id(at TIMESTAMPTZ, salt TEXT) RETURNS UUID LANGUAGE SQL AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::BIGINT), 12, '0')
        || '7' || substr(salt, 1, 3) || '8' || substr(salt, 4, 15))::UUID
$$;

CREATE FUNCTION pg_temp.digest(id UUID) RETURNS BYTEA LANGUAGE SQL AS $$
    SELECT decode(md5(id::TEXT), 'hex')
$$;

CREATE TEMP TABLE past (
    number    BIGINT,
    at        TIMESTAMPTZ,
    order_id  UUID,
    -- The ids of the four events of an order that is confirmed.
    created   UUID,
    approved  UUID,
    reserved  UUID,
    scheduled UUID
);
