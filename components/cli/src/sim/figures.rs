//! The table at the end of a simulation.

use std::process::ExitCode;

use serde::Serialize;

use crate::output;

/// What became of everything that was offered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Interactions or calls that were started.
    pub(super) offered: u64,
    /// Those an agent had.
    pub(super) answered: u64,
    /// Those that left before.
    pub(super) abandoned: u64,
    /// Those nobody can account for: neither answered nor abandoned, or not over when all should be. Must be 0.
    pub(super) lost: u64,
    /// Average speed of answer, milliseconds.
    pub(super) asa_ms: f64,
    /// Answered within the promised time, of those offered, percent.
    pub(super) service_level_percent: f64,
    /// Longest wait of an answered one, milliseconds.
    pub(super) longest_wait_ms: u64,
    /// How long it all took, seconds.
    pub(super) took_s: f64,
    /// Calls on which both sides heard the other's tone; none where there is no voice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heard: Option<u64>,
}

impl Figures {
    /// From the waits of those answered.
    pub(super) fn of(offered: u64, waits_ms: &[u64], abandoned: u64, promised_ms: u64, took_s: f64) -> Self {
        let answered = waits_ms.len() as u64;
        let within = waits_ms.iter().filter(|wait| **wait <= promised_ms).count();
        let total: u64 = waits_ms.iter().sum();
        Self {
            offered,
            answered,
            abandoned,
            lost: offered.saturating_sub(answered + abandoned),
            asa_ms: if answered == 0 { 0.0 } else { total as f64 / answered as f64 },
            service_level_percent: if offered == 0 { 100.0 } else { 100.0 * within as f64 / offered as f64 },
            longest_wait_ms: waits_ms.iter().copied().max().unwrap_or(0),
            took_s,
            heard: None,
        }
    }

    /// Calls that an agent had, by the record, and on which somebody heard nobody: a call counts when it is heard.
    fn unheard(&self) -> u64 {
        let heard = self.heard.unwrap_or(self.answered);
        self.offered.saturating_sub(self.abandoned + heard)
    }

    /// Prints the table; the exit code says whether anything was lost, or not heard.
    pub(super) fn show(&self, json: bool, promised_s: u64) -> anyhow::Result<ExitCode> {
        if json {
            output::json(self)?;
        } else {
            output::print(&self.table(promised_s));
        }
        Ok(if self.lost == 0 && self.unheard() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn table(&self, promised_s: u64) -> comfy_table::Table {
        let mut table = output::table(&["figure", "value"]);
        let seconds = |ms: f64| format!("{:.3} s", ms / 1_000.0);
        table.add_row(["offered", &self.offered.to_string()]);
        table.add_row(["answered", &self.answered.to_string()]);
        table.add_row(["abandoned", &self.abandoned.to_string()]);
        table.add_row(["average speed of answer (ASA)", &seconds(self.asa_ms)]);
        table.add_row(["longest wait", &seconds(self.longest_wait_ms as f64)]);
        table.add_row([format!("service level ({promised_s} s)"), format!("{:.1} %", self.service_level_percent)]);
        if let Some(heard) = self.heard {
            table.add_row(["calls with tone heard on both sides", &heard.to_string()]);
            table.add_row(["not heard", &self.unheard().to_string()]);
        }
        table.add_row(["lost", &self.lost.to_string()]);
        table.add_row(["took", &format!("{:.1} s", self.took_s)]);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_account_for_everything() {
        let figures = Figures::of(5, &[0, 1_000, 30_000], 1, 20_000, 2.0);
        assert_eq!((figures.answered, figures.abandoned, figures.lost), (3, 1, 1));
        assert!((figures.asa_ms - 10_333.3).abs() < 1.0);
        assert!((figures.service_level_percent - 40.0).abs() < 0.01);
        assert_eq!(figures.longest_wait_ms, 30_000);
        assert_eq!(Figures::of(0, &[], 0, 1, 0.0).lost, 0);
        // Answered is not heard.
        let dumb = Figures { heard: Some(2), ..Figures::of(4, &[0, 0, 0], 1, 1, 0.0) };
        assert_eq!((dumb.lost, dumb.unheard()), (0, 1));
        assert_eq!(Figures { heard: Some(3), ..dumb }.unheard(), 0);
        assert_eq!(Figures::of(4, &[0, 0, 0], 1, 1, 0.0).unheard(), 0, "where there is no voice");
    }
}
