//! Programs of the host that are asked something: with a limit of time and of what they may say.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What a program may say on standard error.
const ERRORS_MAX: usize = 64 * 1_024;

/// What a program said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whether it ended well.
    pub(crate) success: bool,
    /// The end of its standard output.
    pub(crate) text: String,
    /// The end of its standard error.
    pub(crate) errors: String,
    /// Whether what it said first was dropped.
    pub(crate) cut: bool,
}

/// Runs a program to its end; of what it says the last `most` bytes are kept.
///
/// # Errors
/// When there is no such program, or it takes longer than `limit`; then it is killed.
pub(crate) async fn ask(words: &[&str], limit: Duration, most: usize) -> anyhow::Result<Answer> {
    let (program, rest) = words.split_first().context("a command has a program")?;
    let mut command = Command::new(program);
    command.args(rest).env("LC_ALL", "C.UTF-8").current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let all = async { tokio::join!(the_end_of(output, most), the_end_of(errors, ERRORS_MAX), child.wait()) };
    let ran = tokio::time::timeout(limit, all).await;
    let (output, errors, status) = ran.with_context(|| format!("{program} took longer than {limit:?}"))?;
    let ((text, cut), (errors, _)) = (output.context("reading its output")?, errors.context("reading its errors")?);
    Ok(Answer { success: status.context("waiting for it")?.success(), text, errors, cut })
}

/// The last `most` bytes of what comes, as text, and whether there was more.
async fn the_end_of(pipe: Option<impl AsyncRead + Unpin>, most: usize) -> std::io::Result<(String, bool)> {
    let Some(mut pipe) = pipe else { return Ok((String::new(), false)) };
    let (mut kept, mut cut) = (Vec::new(), false);
    let mut chunk = vec![0; 64 * 1_024];
    loop {
        let length = pipe.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        kept.extend_from_slice(&chunk[..length]);
        // Twice as much before it is moved: moving costs less often.
        if kept.len() > most.saturating_mul(2) {
            kept.drain(..kept.len() - most);
            cut = true;
        }
    }
    if kept.len() > most {
        kept.drain(..kept.len() - most);
        cut = true;
    }
    Ok((String::from_utf8_lossy(&kept).into_owned(), cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn the_end_of_a_long_answer_is_kept() {
        let line = "i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i + 1)); done; echo oops >&2; exit 3";
        let answer = ask(&["sh", "-c", line], LIMIT, 1_000).await.unwrap();
        assert!(answer.text.ends_with("line 39998\nline 39999\n") && answer.text.len() == 1_000 && answer.cut);
        assert_eq!((answer.success, answer.errors.as_str()), (false, "oops\n"));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_an_error() {
        let error = ask(&["sleep", "60"], Duration::from_millis(100), 10).await.unwrap_err();
        assert!(error.to_string().contains("longer than"), "{error}");
        assert!(ask(&["no-such-program"], LIMIT, 10).await.is_err());
    }
}
