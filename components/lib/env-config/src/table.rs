//! What is generated from the definitions: the `--help` table, the markdown reference, the packaged environment file.

use std::fmt::Write;

/// One variable as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// `RINGDOWN_...`.
    pub name: &'static str,
    /// What it takes; completes "it needs ...".
    pub accepts: String,
    /// What it is for.
    pub about: String,
    /// The value when unset, as it would be written.
    pub default: Option<String>,
    /// Whether the daemon refuses to start without it.
    pub required: bool,
    /// Whether `NAME_FILE` is understood.
    pub from_file: bool,
    /// Whether the value is a secret.
    pub secret: bool,
}

impl Definition {
    pub(crate) fn file_name(&self) -> String {
        format!("{}_FILE", self.name)
    }

    /// The names an environment may set for this definition.
    pub(crate) fn names(&self) -> Vec<String> {
        let file = self.from_file.then(|| self.file_name());
        std::iter::once(self.name.to_owned()).chain(file).collect()
    }

    fn when_unset(&self) -> String {
        match &self.default {
            Some(default) => format!("default {default}"),
            None if self.required => "required".into(),
            None => "optional".into(),
        }
    }
}

/// The table of `--help`: names, what they take, what they are for.
pub(crate) fn plain(definitions: &[Definition]) -> String {
    let mut text = String::new();
    for definition in definitions {
        let file = if definition.from_file { ", or NAME_FILE" } else { "" };
        write_line(&mut text, &format!("  {}", definition.name));
        write_line(&mut text, &format!("      {}", definition.about));
        write_line(&mut text, &format!("      {}{file}; {}", definition.accepts, definition.when_unset()));
    }
    text
}

/// The reference table of the docs.
pub(crate) fn markdown(definitions: &[Definition]) -> String {
    let mut text = String::from("| variable | takes | when unset | for |\n|---|---|---|---|\n");
    for definition in definitions {
        let file = if definition.from_file { format!(", or `{}`", definition.file_name()) } else { String::new() };
        let unset = match &definition.default {
            Some(default) => format!("`{default}`"),
            None if definition.required => "required".into(),
            None => "-".into(),
        };
        // A bar inside a cell would begin the next one.
        let (accepts, about) = (definition.accepts.replace('|', "\\|"), definition.about.replace('|', "\\|"));
        let row = format!("| `{}` | {accepts}{file} | {unset} | {about} |", definition.name);
        write_line(&mut text, &row);
    }
    text
}

/// The packaged environment file: every variable with its meaning, all commented out.
pub(crate) fn environment_file(daemon: &str, definitions: &[Definition]) -> String {
    let mut text = format!(
        "# Environment of ringdown-{daemon}. Every line is a comment until its '#' is removed; empty is unset.\n"
    );
    for definition in definitions {
        let name = if definition.secret { definition.file_name() } else { definition.name.to_owned() };
        write_line(&mut text, &format!("\n# {}", definition.about));
        write_line(&mut text, &format!("# Takes {}; {}.", definition.accepts, definition.when_unset()));
        if definition.from_file && !definition.secret {
            write_line(&mut text, &format!("# {} reads it from a file.", definition.file_name()));
        }
        write_line(&mut text, &format!("#{name}={}", definition.default.as_deref().unwrap_or_default()));
    }
    text
}

fn write_line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}
