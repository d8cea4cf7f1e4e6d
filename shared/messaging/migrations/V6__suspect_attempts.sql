-- A start whose commit was not answered is asked for again, and counted once.
ALTER TABLE suspects
    ADD COLUMN last_attempt UUID;
