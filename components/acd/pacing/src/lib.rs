//! How many calls a campaign starts now. Pure: no runtime, no clock, no random source; time is an argument.
//!
//! | module | what it decides |
//! |---|---|
//! | [`settings`] | what a campaign wants and may: mode, limits, how many answers may be lost |
//! | [`pacer`] | the campaign's agents and calls, and the decision |
//! | [`shortage`] | how likely a call that is started now finds no agent |
//! | [`ledger`] | how many answers were lost in which window, and what may still be |
//! | [`estimates`] | what was learnt: how many answer, how long phones ring, how long agents talk and wrap up |
//! | [`histogram`] | durations that were seen, the newer the heavier |
//! | [`recording`] | every input and decision, to be replayed bit for bit |
//!
//! The predictive rule is a price: a campaign has a budget of lost answers (its target times its live answers, minus the lost
//! ones), and the more of it is unspent the higher the risk at which a further call is started. The risk is computed from what
//! every agent and every call does at this moment.

pub mod estimates;
pub mod histogram;
pub mod ledger;
pub mod pacer;
pub mod recording;
pub mod settings;
pub mod shortage;
#[cfg(test)]
mod tests;

pub use ledger::{Ledger, Window, WindowFigures};
pub use pacer::{Decision, Input, Pacer, Rule, Why};
pub use recording::{Difference, Entry, Recording};
pub use settings::{Mode, Settings};
