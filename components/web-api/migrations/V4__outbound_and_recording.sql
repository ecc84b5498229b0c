-- Where calls go out, and which queues are recorded. It only adds.
ALTER TABLE trunks
    ADD COLUMN destination text
        CONSTRAINT trunks_destination_check CHECK (char_length(destination) BETWEEN 1 AND 64),
    ADD COLUMN caller_id text CONSTRAINT trunks_caller_id_check CHECK (caller_id ~ '^[+]?[0-9]{1,20}$');
ALTER TABLE queues
    ADD COLUMN recorded boolean NOT NULL DEFAULT false;

-- How outside numbers are dialled: of those whose prefix fits, the one with the longest.
CREATE TABLE outbound_routes (
    id uuid CONSTRAINT outbound_routes_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL CONSTRAINT outbound_routes_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    prefix text COLLATE "C" NOT NULL CONSTRAINT outbound_routes_prefix_check CHECK (prefix ~ '^[+]?[0-9]{0,15}$'),
    strip text NOT NULL DEFAULT '' CONSTRAINT outbound_routes_strip_check CHECK (strip ~ '^[+]?[0-9]{0,15}$'),
    prepend text NOT NULL DEFAULT '' CONSTRAINT outbound_routes_prepend_check CHECK (prepend ~ '^[+]?[0-9]{0,15}$'),
    trunks uuid[] NOT NULL CONSTRAINT outbound_routes_trunks_check CHECK (cardinality(trunks) BETWEEN 1 AND 8),
    caller_id text CONSTRAINT outbound_routes_caller_id_check CHECK (caller_id ~ '^[+]?[0-9]{1,20}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outbound_routes_prefix_key UNIQUE (tenant_id, prefix)
);

CREATE TRIGGER outbound_routes_inserted AFTER INSERT ON outbound_routes REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION raise_revision();
CREATE TRIGGER outbound_routes_updated AFTER UPDATE ON outbound_routes REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION raise_revision();
CREATE TRIGGER outbound_routes_deleted AFTER DELETE ON outbound_routes REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION raise_revision();
