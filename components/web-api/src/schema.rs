//! The schema of the configuration database, compiled into the binary.

use ringdown_pg_store::{Schema, Way};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The ways back: one for every migration but the first, added with it.
fn ways() -> Vec<Way> {
    vec![
        Way { version: 2, down: V2_DOWN, works_from: 1 },
        Way { version: 3, down: V3_DOWN, works_from: 2 },
        Way { version: 4, down: V4_DOWN, works_from: 3 },
    ]
}

/// What V2 added goes again: generations, the check of trunks' sources, the fingerprints of secrets.
const V2_DOWN: &str = "
DROP TRIGGER users_narrowed ON users;
DROP TRIGGER users_removed ON users;
DROP FUNCTION raise_generation();
DROP TABLE user_generations;
DROP TRIGGER trunks_sources_inserted ON trunks;
DROP TRIGGER trunks_sources_updated ON trunks;
DROP FUNCTION check_trunk_sources();
ALTER TABLE idempotency_keys DROP COLUMN secret_hash;
";

/// What V3 added goes again: how carriers write numbers, the limit of busy answers.
const V3_DOWN: &str = "
ALTER TABLE trunks DROP COLUMN country_code, DROP COLUMN international_prefix, DROP COLUMN national_prefix;
ALTER TABLE queues DROP COLUMN busy_limit;
";

/// What V4 added goes again: where calls go out, which queues are recorded.
const V4_DOWN: &str = "
DROP TABLE stream_positions;
DROP TABLE recordings;
DROP TABLE outbound_routes;
ALTER TABLE trunks DROP COLUMN destination, DROP COLUMN caller_id;
ALTER TABLE queues DROP COLUMN recorded, DROP COLUMN recording_days;
";

/// All migrations, in order, and the ways back.
#[must_use]
pub fn migrations() -> Schema {
    Schema::new(embedded::migrations::runner(), ways())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_migration_can_be_taken_back() {
        assert_eq!(super::migrations().without_way(), [0_i32; 0], "versions that need a Way in schema.rs");
    }
}
