//! What is wrong with an environment, in words an operator can act on. A fault never contains a value.

use std::fmt;

/// One thing wrong with one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable's name, e.g. `RINGDOWN_REDIS_URL`.
    pub name: String,
    /// What is wrong and what is accepted; never the value.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.problem)
    }
}

/// Everything wrong with an environment, in the order of the variables' definitions, unknown names last.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(formatter, "{count} fault{} in the environment:", if count == 1 { "" } else { "s" })?;
        for fault in &self.0 {
            write!(formatter, "\n  {fault}")?;
        }
        Ok(())
    }
}
