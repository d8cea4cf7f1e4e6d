-- The copy that has the charge in hand, by the name of its database connections: once none of them is
-- left, another copy takes the charge over. Null: taken up by a copy that does not say.
ALTER TABLE payments ADD COLUMN claimed_by TEXT;
