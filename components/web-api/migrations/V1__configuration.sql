-- Configuration: what web-api writes and the provisioner compiles. Every rule that PostgreSQL can keep is kept here too,
-- so that no other writer can leave what the provisioner would have to refuse. Constraints are named
-- <table>_<field>_<kind>: web-api names the field from it.

CREATE TABLE tenants (
    id uuid CONSTRAINT tenants_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT tenants_name_check CHECK (char_length(name) BETWEEN 1 AND 120),
    realm text NOT NULL CONSTRAINT tenants_realm_key UNIQUE
        CONSTRAINT tenants_realm_check CHECK (realm = lower(realm) AND char_length(realm) BETWEEN 1 AND 253),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The number of a tenant's configuration: raised by every change, and the version the provisioner compiles. A table of its
-- own, so that a change of an agent does not change the tenant's row (and its ETag).
CREATE TABLE tenant_revisions (
    tenant_id uuid CONSTRAINT tenant_revisions_pkey PRIMARY KEY
        CONSTRAINT tenant_revisions_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    revision bigint NOT NULL DEFAULT 1
);

CREATE TABLE skills (
    tenant_id uuid NOT NULL CONSTRAINT skills_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL CONSTRAINT skills_name_check CHECK (name ~ '^[0-9A-Za-z._-]{1,64}$'),
    description text NOT NULL DEFAULT '' CONSTRAINT skills_description_check CHECK (char_length(description) <= 500),
    CONSTRAINT skills_name_key PRIMARY KEY (tenant_id, name)
);

CREATE TABLE agents (
    id uuid CONSTRAINT agents_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL CONSTRAINT agents_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT agents_name_check CHECK (char_length(name) BETWEEN 1 AND 120),
    sip_user text COLLATE "C",
    ha1_md5 text CONSTRAINT agents_ha1_md5_check CHECK (ha1_md5 ~ '^[0-9a-f]{32}$'),
    ha1_sha256 text CONSTRAINT agents_ha1_sha256_check CHECK (ha1_sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agents_sip_user_key UNIQUE (tenant_id, sip_user),
    CONSTRAINT agents_tenant_id_key UNIQUE (tenant_id, id),
    CONSTRAINT agents_phone_check CHECK (
        (sip_user IS NULL AND ha1_md5 IS NULL AND ha1_sha256 IS NULL)
        OR (sip_user ~ '^[0-9A-Za-z._-]{1,64}$' AND (ha1_md5 IS NULL) = (ha1_sha256 IS NULL))
    )
);

CREATE TABLE agent_skills (
    tenant_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    skill text COLLATE "C" NOT NULL,
    level smallint NOT NULL CONSTRAINT agent_skills_level_check CHECK (level BETWEEN 1 AND 10),
    CONSTRAINT agent_skills_pkey PRIMARY KEY (tenant_id, agent_id, skill),
    CONSTRAINT agent_skills_agent_fkey FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT agent_skills_skill_fkey FOREIGN KEY (tenant_id, skill) REFERENCES skills (tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX agent_skills_skill_idx ON agent_skills (tenant_id, skill);

CREATE TABLE queues (
    id uuid CONSTRAINT queues_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL CONSTRAINT queues_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT queues_name_check CHECK (char_length(name) BETWEEN 1 AND 120),
    priority smallint NOT NULL CONSTRAINT queues_priority_check CHECK (priority BETWEEN 0 AND 100),
    ring_timeout_ms bigint NOT NULL CONSTRAINT queues_ring_timeout_ms_check CHECK (ring_timeout_ms BETWEEN 1000 AND 120000),
    wrap_up_ms bigint NOT NULL CONSTRAINT queues_wrap_up_ms_check CHECK (wrap_up_ms BETWEEN 0 AND 3600000),
    wait_limit_ms bigint CONSTRAINT queues_wait_limit_ms_check CHECK (wait_limit_ms BETWEEN 1000 AND 86400000),
    capacity bigint NOT NULL CONSTRAINT queues_capacity_check CHECK (capacity BETWEEN 1 AND 100000),
    service_level_ms bigint NOT NULL CONSTRAINT queues_service_level_ms_check CHECK (service_level_ms BETWEEN 1 AND 86400000),
    after_no_answer text NOT NULL CONSTRAINT queues_after_no_answer_check CHECK (after_no_answer IN ('not_ready', 'stay_ready')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT queues_name_key UNIQUE (tenant_id, name),
    CONSTRAINT queues_tenant_id_key UNIQUE (tenant_id, id)
);

CREATE TABLE queue_skills (
    tenant_id uuid NOT NULL,
    queue_id uuid NOT NULL,
    skill text COLLATE "C" NOT NULL,
    min_level smallint NOT NULL CONSTRAINT queue_skills_min_level_check CHECK (min_level BETWEEN 1 AND 10),
    CONSTRAINT queue_skills_pkey PRIMARY KEY (tenant_id, queue_id, skill),
    CONSTRAINT queue_skills_queue_fkey FOREIGN KEY (tenant_id, queue_id) REFERENCES queues (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT queue_skills_skill_fkey FOREIGN KEY (tenant_id, skill) REFERENCES skills (tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX queue_skills_skill_idx ON queue_skills (tenant_id, skill);

CREATE TABLE trunks (
    id uuid CONSTRAINT trunks_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL CONSTRAINT trunks_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT trunks_name_check CHECK (char_length(name) BETWEEN 1 AND 120),
    sources text[] NOT NULL CONSTRAINT trunks_sources_check CHECK (cardinality(sources) BETWEEN 1 AND 32),
    capacity integer NOT NULL CONSTRAINT trunks_capacity_check CHECK (capacity BETWEEN 1 AND 10000),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT trunks_name_key UNIQUE (tenant_id, name),
    CONSTRAINT trunks_tenant_id_key UNIQUE (tenant_id, id)
);

CREATE TABLE routes (
    id uuid CONSTRAINT routes_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL CONSTRAINT routes_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    did text COLLATE "C" NOT NULL CONSTRAINT routes_did_check CHECK (did ~ '^[0-9A-Za-z+*#._-]{1,64}$'),
    queue_id uuid NOT NULL,
    trunk_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT routes_did_key UNIQUE (tenant_id, did),
    CONSTRAINT routes_queue_fkey FOREIGN KEY (tenant_id, queue_id) REFERENCES queues (tenant_id, id),
    CONSTRAINT routes_trunk_fkey FOREIGN KEY (tenant_id, trunk_id) REFERENCES trunks (tenant_id, id)
);
CREATE INDEX routes_queue_idx ON routes (tenant_id, queue_id);
CREATE INDEX routes_trunk_idx ON routes (tenant_id, trunk_id);

-- Who can log in. A user without tenant administers the installation.
CREATE TABLE users (
    id uuid CONSTRAINT users_pkey PRIMARY KEY,
    login text COLLATE "C" NOT NULL CONSTRAINT users_login_key UNIQUE
        CONSTRAINT users_login_check CHECK (login = lower(login) AND char_length(login) BETWEEN 1 AND 120),
    name text NOT NULL CONSTRAINT users_name_check CHECK (char_length(name) BETWEEN 1 AND 120),
    password_hash text NOT NULL,
    role text NOT NULL CONSTRAINT users_role_check CHECK (role IN ('agent', 'supervisor', 'administrator')),
    tenant_id uuid CONSTRAINT users_tenant_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_agent_fkey FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id)
        ON DELETE SET NULL (agent_id),
    CONSTRAINT users_tenant_check CHECK (tenant_id IS NOT NULL OR (role = 'administrator' AND agent_id IS NULL))
);
CREATE INDEX users_tenant_idx ON users (tenant_id);

CREATE TABLE api_tokens (
    id uuid CONSTRAINT api_tokens_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT api_tokens_user_fkey REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT api_tokens_name_check CHECK (char_length(name) BETWEEN 1 AND 120),
    token_sha256 text NOT NULL CONSTRAINT api_tokens_token_key UNIQUE
        CONSTRAINT api_tokens_token_check CHECK (token_sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX api_tokens_user_idx ON api_tokens (user_id);

-- What a write with an Idempotency-Key answered; written in the transaction of the write itself.
CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL CONSTRAINT idempotency_keys_user_fkey REFERENCES users (id) ON DELETE CASCADE,
    key text COLLATE "C" NOT NULL CONSTRAINT idempotency_keys_key_check CHECK (char_length(key) BETWEEN 1 AND 128),
    fingerprint text NOT NULL,
    status smallint NOT NULL DEFAULT 0,
    body jsonb,
    etag text,
    location text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (created_at);

-- Every statement that changes a tenant's configuration raises its revision once and nudges the provisioner: the channel
-- config_changed carries the tenant's id. PostgreSQL sends equal notifications of one transaction once, at its commit.
CREATE FUNCTION raise_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tenant_revisions SET revision = revision + 1 WHERE tenant_id IN (SELECT DISTINCT tenant_id FROM changed);
    PERFORM pg_notify('config_changed', tenant_id::text) FROM (SELECT DISTINCT tenant_id FROM changed) AS tenants;
    RETURN NULL;
END $$;

DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['skills', 'agents', 'agent_skills', 'queues', 'queue_skills', 'trunks', 'routes'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_inserted AFTER INSERT ON %1$s REFERENCING NEW TABLE AS changed '
            'FOR EACH STATEMENT EXECUTE FUNCTION raise_revision()', part);
        EXECUTE format('CREATE TRIGGER %1$s_updated AFTER UPDATE ON %1$s REFERENCING NEW TABLE AS changed '
            'FOR EACH STATEMENT EXECUTE FUNCTION raise_revision()', part);
        EXECUTE format('CREATE TRIGGER %1$s_deleted AFTER DELETE ON %1$s REFERENCING OLD TABLE AS changed '
            'FOR EACH STATEMENT EXECUTE FUNCTION raise_revision()', part);
    END LOOP;
END $$;

CREATE FUNCTION tenant_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tenant_revisions (tenant_id) VALUES (NEW.id);
    ELSIF TG_OP = 'UPDATE' THEN
        UPDATE tenant_revisions SET revision = revision + 1 WHERE tenant_id = NEW.id;
    END IF;
    PERFORM pg_notify('config_changed', coalesce(NEW.id, OLD.id)::text);
    RETURN NULL;
END $$;

CREATE TRIGGER tenants_changed AFTER INSERT OR UPDATE OR DELETE ON tenants
    FOR EACH ROW EXECUTE FUNCTION tenant_changed();
