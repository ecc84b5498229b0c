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

-- How long a recorded queue's recordings are kept.
ALTER TABLE queues
    ADD COLUMN recording_days integer NOT NULL DEFAULT 90
        CONSTRAINT queues_recording_days_check CHECK (recording_days BETWEEN 1 AND 3650);

-- Recordings in the object store, one row a party.
CREATE TABLE recordings (
    id uuid CONSTRAINT recordings_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL CONSTRAINT recordings_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    interaction_id uuid NOT NULL,
    number integer NOT NULL,
    party text NOT NULL CONSTRAINT recordings_party_check CHECK (party IN ('agent', 'customer', 'number')),
    agent_id uuid,
    queue_id uuid,
    caller text,
    called text,
    begun_at_ms bigint NOT NULL,
    duration_ms bigint NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    object text NOT NULL CONSTRAINT recordings_object_key UNIQUE,
    node text NOT NULL,
    legal_hold boolean NOT NULL DEFAULT false,
    kept_until_ms bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT recordings_number_key UNIQUE (tenant_id, interaction_id, number)
);
CREATE INDEX recordings_kept_until_idx ON recordings (kept_until_ms) WHERE NOT legal_hold;

-- How far a stream was read, by who reads it.
CREATE TABLE stream_positions (
    reader text CONSTRAINT stream_positions_pkey PRIMARY KEY,
    position text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
