//! The schema of the configuration database, compiled into the binary.

use ringdown_pg_store::{Schema, Way};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The ways back: one for every migration but the first, added with it.
fn ways() -> Vec<Way> {
    Vec::new()
}

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
