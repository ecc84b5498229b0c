-- A user's generation: raised by whatever narrows what the user may do. A log-in carries the generation of its beginning and
-- is worth nothing below the newest one. Without a reference to users, since a removed user's generation must outlive the
-- row. Microseconds of the clock, so that a restored database never falls behind what Redis was told; never lower than before.
CREATE TABLE user_generations (
    user_id uuid CONSTRAINT user_generations_pkey PRIMARY KEY,
    generation bigint NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    raised_by xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX user_generations_raised_by_idx ON user_generations (raised_by);
CREATE INDEX user_generations_raised_at_idx ON user_generations (raised_at);

CREATE FUNCTION raise_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO user_generations (user_id, generation)
    VALUES (OLD.id, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    ON CONFLICT (user_id) DO UPDATE SET
        generation = greatest(user_generations.generation + 1, excluded.generation),
        raised_at = excluded.raised_at,
        raised_by = excluded.raised_by;
    RETURN NULL;
END $$;

CREATE TRIGGER users_narrowed AFTER UPDATE ON users FOR EACH ROW
    WHEN (OLD.role IS DISTINCT FROM NEW.role OR OLD.tenant_id IS DISTINCT FROM NEW.tenant_id
        OR OLD.agent_id IS DISTINCT FROM NEW.agent_id OR OLD.password_hash IS DISTINCT FROM NEW.password_hash)
    EXECUTE FUNCTION raise_generation();
CREATE TRIGGER users_removed AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION raise_generation();

-- A call is told apart by its source address alone, so no two tenants may name overlapping sources, and no two trunks the
-- same one. Checked one writer at a time: the lock is held until the end of the transaction, and the check after it sees
-- what an earlier holder committed.
CREATE FUNCTION check_trunk_sources() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    taken boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ringdown trunk sources', 0));
    SELECT true INTO taken FROM trunks t, unnest(t.sources) AS theirs, unnest(NEW.sources) AS ours
        WHERE t.id <> NEW.id AND t.tenant_id <> NEW.tenant_id AND theirs::inet && ours::inet LIMIT 1;
    IF taken THEN
        RAISE EXCEPTION 'a source belongs to another tenant' USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'trunks_sources_overlap';
    END IF;
    SELECT true INTO taken FROM trunks t, unnest(t.sources) AS theirs, unnest(NEW.sources) AS ours
        WHERE t.id <> NEW.id AND t.tenant_id = NEW.tenant_id AND theirs::inet = ours::inet LIMIT 1;
    IF taken THEN
        RAISE EXCEPTION 'a source stands in another trunk' USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'trunks_sources_key';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER trunks_sources_inserted AFTER INSERT ON trunks FOR EACH ROW EXECUTE FUNCTION check_trunk_sources();
CREATE TRIGGER trunks_sources_updated AFTER UPDATE OF sources ON trunks FOR EACH ROW
    WHEN (OLD.sources IS DISTINCT FROM NEW.sources) EXECUTE FUNCTION check_trunk_sources();

-- The fingerprint of a secret inside a request, salted by the row's own key: a repeat with another secret is another request.
ALTER TABLE idempotency_keys ADD COLUMN secret_hash text;
