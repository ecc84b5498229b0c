//! The schema of the configuration database, compiled into the binary.

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// All migrations, in order.
#[must_use]
pub fn migrations() -> refinery::Runner {
    embedded::migrations::runner()
}
