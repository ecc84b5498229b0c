//! The commands that the README tells a newcomer to run: tests run those, not what somebody remembers of them.

use std::path::Path;

use anyhow::Context;

/// The commands below a heading of the README, one per code block, in their order.
///
/// # Errors
/// When the README cannot be read, has no such heading, or no code block below it.
pub fn commands(heading: &str) -> anyhow::Result<Vec<String>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("suites lie in tests/suites")?;
    let text = std::fs::read_to_string(top.join("README.md")).context("reading the README")?;
    of_text(&text, heading)
}

fn of_text(text: &str, heading: &str) -> anyhow::Result<Vec<String>> {
    let mut below =
        text.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading || !line.starts_with('#'));
    below.next().with_context(|| format!("the README has no heading \"{heading}\""))?;
    let mut commands = Vec::new();
    let mut open: Option<String> = None;
    for line in below.take_while(|line| !line.starts_with("## ")) {
        match &mut open {
            None if line.starts_with("```") => open = Some(String::new()),
            None => {}
            Some(block) if line.starts_with("```") => {
                commands.push(block.trim().to_owned());
                open = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    anyhow::ensure!(!commands.is_empty(), "the README has no command below \"{heading}\"");
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_section_are_read() {
        let text = "# X\n```\nnot this\n```\n## Two commands\nFirst:\n```\nsudo a\n```\nthen\n```sh\nb --c\n```\n## Next\n```\nnor this\n```\n";
        assert_eq!(of_text(text, "Two commands").unwrap(), ["sudo a", "b --c"]);
        assert!(of_text(text, "Three commands").is_err());
        assert!(of_text("## Two commands\nnothing", "Two commands").is_err());
    }

    #[test]
    fn the_readme_has_two_commands() {
        assert_eq!(commands("Two commands").unwrap().len(), 2);
    }
}
