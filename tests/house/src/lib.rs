//! What the house rules look at: the workspace's packages as cargo knows them, and its files. The rules themselves are
//! tests, in `tests/house/`; each fails with one readable line per finding.
//!
//! Nothing here changes a file, except [`Workspace::write`], which the environment rule uses when it is asked to mend.

mod package;
mod source;

pub use package::{Dependency, Package, Place, packages};
pub use source::{Source, Workspace};

/// Fails a rule with its findings, a line each.
///
/// # Panics
/// When there are findings.
pub fn nothing_found(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}
