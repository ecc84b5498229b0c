-- How a carrier writes numbers, and how many busy answers in a row a queue takes from an agent. It only adds.
ALTER TABLE trunks
    ADD COLUMN country_code text CONSTRAINT trunks_country_code_check CHECK (country_code ~ '^[1-9][0-9]{0,2}$'),
    ADD COLUMN international_prefix text NOT NULL DEFAULT '00'
        CONSTRAINT trunks_international_prefix_check CHECK (international_prefix ~ '^[0-9]{0,5}$'),
    ADD COLUMN national_prefix text NOT NULL DEFAULT '0'
        CONSTRAINT trunks_national_prefix_check CHECK (national_prefix ~ '^[0-9]{0,5}$');
ALTER TABLE queues
    ADD COLUMN busy_limit bigint NOT NULL DEFAULT 3
        CONSTRAINT queues_busy_limit_check CHECK (busy_limit BETWEEN 1 AND 100);
