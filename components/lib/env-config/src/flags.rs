//! The few flags every daemon has. Everything else comes from the environment.

use std::fmt::Write;

use crate::{Reader, table};

/// Exit code for an unknown flag (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// Exit code for a faulty environment (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

const FLAGS: &str = "\
Flags:
  --check-config  check the environment and say what is wrong with it; opens nothing
  --print-env     print the commented environment file
  --env-table     print the table of variables as markdown
  --version       print the version
  --help          print this
";

/// What a daemon says about itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Name without the product's prefix, e.g. `web-api`.
    pub name: &'static str,
    /// `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// What it is for, one line.
    pub purpose: &'static str,
}

/// What `main` does next.
#[derive(Debug)]
pub enum Start<C> {
    /// Run with this configuration.
    Run(C),
    /// Write these texts and leave with this code.
    Exit {
        /// The process' exit code: 0, [`EXIT_USAGE`] or [`EXIT_CONFIG`].
        code: u8,
        /// For standard output.
        stdout: String,
        /// For standard error.
        stderr: String,
    },
}

/// Decides by flags and environment. `arguments` are without the program's name. Opens nothing but secrets' files.
pub fn start<C>(
    about: About,
    arguments: impl IntoIterator<Item = String>,
    environment: Reader,
    read: impl FnOnce(&mut Reader) -> Option<C>,
) -> Start<C> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => load(about, environment, read, Start::Run),
        ["--check-config"] => load(about, environment, read, |_| say(format!("ringdown-{}: sound\n", about.name))),
        ["--help" | "-h"] => say(help(about, read)),
        ["--version" | "-V"] => say(format!("ringdown-{} {}\n", about.name, about.version)),
        ["--env-table"] => say(table::markdown(&Reader::definitions(about.name, read))),
        ["--print-env"] => say(table::environment_file(about.name, &Reader::definitions(about.name, read))),
        [..] => Start::Exit { code: EXIT_USAGE, stdout: String::new(), stderr: usage(about) },
    }
}

fn load<C>(
    about: About,
    environment: Reader,
    read: impl FnOnce(&mut Reader) -> Option<C>,
    then: impl FnOnce(C) -> Start<C>,
) -> Start<C> {
    match environment.load(read) {
        Ok(config) => then(config),
        Err(faults) => {
            let stderr = format!("ringdown-{}: {faults}\n(--help lists all variables)\n", about.name);
            Start::Exit { code: EXIT_CONFIG, stdout: String::new(), stderr }
        }
    }
}

fn say<C>(stdout: String) -> Start<C> {
    Start::Exit { code: 0, stdout, stderr: String::new() }
}

fn usage(about: About) -> String {
    format!("ringdown-{}: takes at most one flag; it is configured by the environment\n{FLAGS}", about.name)
}

fn help<C>(about: About, read: impl FnOnce(&mut Reader) -> Option<C>) -> String {
    let mut text = format!("ringdown-{} {}: {}\n\n{FLAGS}\nEnvironment:\n", about.name, about.version, about.purpose);
    text.push_str(&table::plain(&Reader::definitions(about.name, read)));
    writeln!(text, "\nAn empty variable is an unset one.").expect("writing to a String cannot fail");
    text
}
