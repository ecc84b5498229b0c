//! What a daemon knows of its schema: migrations, the way back from each, and who can work with what they made.
//!
//! ```text
//! version N     knows V1            runs beside N+1 on a schema with V2, because V2 says "works from 1"
//! version N+1   knows V1, V2        applies V2, and leaves in `schema_ways` how it is taken back
//! ```
//! The way back lies in the database, since the program that goes back to V1 has never heard of V2.

use std::fmt;

use refinery::Runner;

/// The way back from one migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Of the migration, 2 or higher: before the first there is nothing to go back to.
    pub version: i32,
    /// SQL that takes it back. Data that only the newer version knows goes with it.
    pub down: &'static str,
    /// The oldest schema whose programs can work on this one: the version before, as long as a migration only adds.
    pub works_from: i32,
}

/// Migrations, and the ways back.
pub struct Schema {
    pub(crate) runner: Runner,
    pub(crate) ways: Vec<Way>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Schema")
            .field("newest", &self.newest())
            .field("ways", &self.ways)
            .finish_non_exhaustive()
    }
}

impl Schema {
    /// Migrations with the way back from each but the first.
    #[must_use]
    pub fn new(runner: Runner, ways: Vec<Way>) -> Self {
        Self { runner, ways }
    }

    /// The newest version these programs know; 0 when there is none.
    #[must_use]
    pub fn newest(&self) -> i32 {
        self.runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
    }

    /// Versions that have no way back, or one that leads nowhere.
    #[must_use]
    pub fn without_way(&self) -> Vec<i32> {
        let versions = self.runner.get_migrations().iter().map(refinery::Migration::version);
        let has = |version: i32| self.ways.iter().any(|way| way.version == version && way.works_from < version);
        versions.filter(|version| *version > 1 && !has(*version)).collect()
    }
}

impl From<Runner> for Schema {
    fn from(runner: Runner) -> Self {
        Self::new(runner, Vec::new())
    }
}

/// A schema as it is, beside what a program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The newest version that was applied; 0: none.
    pub applied: i32,
    /// The newest the program knows.
    pub known: i32,
}
