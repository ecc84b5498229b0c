//! The response context: branches of one forwarded request, and the one answer its sender gets.
//!
//! ```text
//! branch   Calling -1xx-> Proceeding -2xx-> Answered
//!          Calling, Proceeding -3xx..6xx, no response, flow gone, timer C-> Failed
//! upstream nothing yet -2xx-> answered (repeats of that branch's 2xx pass, those of other branches are released)
//!          nothing yet -all branches failed-> next target, or the best failure
//! ```
//! A branch that is to be cancelled before it has said anything is cancelled when it does (9.1). A 2xx that comes after
//! another answer went upstream, be it another phone's 2xx, is [`ForkAction::Release`]d. RFC 3261 16.7 step 5 would have it
//! passed on, for the caller to choose; but Asterisk ignores a second 2xx, and nobody would ever hang that call up.

use crate::transaction::Kind;

/// Where a branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchState {
    /// Sent, nothing heard.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// Ended with this status; `heard` when the far end said so, else we did.
    Failed {
        /// 300 to 699.
        status: u16,
        /// The far end's own response.
        heard: bool,
    },
    /// A 2xx came.
    Answered,
}

/// What happens to a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchEvent {
    /// A provisional response, 100 to 199.
    Provisional(u16),
    /// A 2xx; repeats too.
    Success,
    /// A final response, 300 to 699.
    Failure(u16),
    /// Nothing came in time (no response at all, timers B and F, the time after a CANCEL).
    Silence,
    /// It rings too long (timer C).
    RingsTooLong,
    /// The way to it is gone.
    Unreachable,
}

/// The answer that goes upstream when no branch succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Best {
    /// The final response of this branch.
    Branch(usize),
    /// One of our own.
    Status(u16),
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkAction {
    /// Pass the response just received on this branch upstream.
    Forward(usize),
    /// Send CANCEL on this branch.
    Cancel(usize),
    /// Send the final answer upstream.
    Answer(Best),
    /// All targets failed in a way that another one may cure: add a branch to it.
    TryNext,
    /// End the call that this branch's 2xx has begun: ACK, then BYE.
    Release(usize),
    /// Say nothing upstream and forget the request (a request other than INVITE must not be answered 408, RFC 4320).
    GiveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CancelState {
    No,
    Wanted,
    Sent,
}

/// The final answer that went upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The 2xx of this branch.
    Success { branch: usize },
    /// A failure, or for good nothing.
    Failure,
}

#[derive(Clone, Copy, Debug)]
struct Branch {
    state: BranchState,
    cancel: CancelState,
}

impl Branch {
    fn is_pending(&self) -> bool {
        matches!(self.state, BranchState::Calling | BranchState::Proceeding)
    }
}

/// The response context of one request.
#[derive(Clone, Debug)]
pub struct Fork {
    kind: Kind,
    branches: Vec<Branch>,
    /// Targets that may be tried when all branches failed.
    reserve: usize,
    /// What went upstream.
    outcome: Option<Outcome>,
    cancelled: bool,
}

impl Fork {
    /// A request forwarded to `branches` targets at once, with `reserve` more to try one after the other.
    pub fn new(kind: Kind, branches: usize, reserve: usize) -> Self {
        let fresh = Branch { state: BranchState::Calling, cancel: CancelState::No };
        Self { kind, branches: vec![fresh; branches], reserve, outcome: None, cancelled: false }
    }

    /// Adds the branch that [`ForkAction::TryNext`] asked for; gives its number.
    pub fn add_branch(&mut self) -> usize {
        self.branches.push(Branch { state: BranchState::Calling, cancel: CancelState::No });
        self.branches.len() - 1
    }

    /// Takes what happened to a branch.
    pub fn step(&mut self, at: usize, event: BranchEvent) -> Vec<ForkAction> {
        let Some(branch) = self.branches.get(at).copied() else { return Vec::new() };
        match event {
            BranchEvent::Provisional(status) => self.provisional(at, branch, status),
            BranchEvent::Success => self.success(at),
            BranchEvent::Failure(status) => self.fail(at, branch, status, true),
            BranchEvent::Silence => self.fail(at, branch, 408, false),
            BranchEvent::RingsTooLong => self.rings_too_long(at, branch),
            BranchEvent::Unreachable => self.fail(at, branch, 480, false),
        }
    }

    /// The sender cancelled its request.
    pub fn cancel(&mut self) -> Vec<ForkAction> {
        if self.outcome.is_some() || self.cancelled {
            return Vec::new();
        }
        self.cancelled = true;
        self.cancel_pending()
    }

    /// True when an answer went upstream (or never will).
    pub fn is_answered(&self) -> bool {
        self.outcome.is_some()
    }

    /// Where a branch is.
    pub fn branch_state(&self, at: usize) -> Option<BranchState> {
        self.branches.get(at).map(|branch| branch.state)
    }

    fn provisional(&mut self, at: usize, branch: Branch, status: u16) -> Vec<ForkAction> {
        if branch.state == BranchState::Calling {
            self.branches[at].state = BranchState::Proceeding;
        }
        if branch.cancel == CancelState::Wanted {
            self.branches[at].cancel = CancelState::Sent;
            return vec![ForkAction::Cancel(at)];
        }
        let passes = branch.is_pending() && status != 100 && self.outcome.is_none() && !self.cancelled;
        if passes { vec![ForkAction::Forward(at)] } else { Vec::new() }
    }

    fn success(&mut self, at: usize) -> Vec<ForkAction> {
        self.branches[at].state = BranchState::Answered;
        match (self.outcome, self.kind) {
            (Some(Outcome::Success { branch }), Kind::Invite) if branch == at => vec![ForkAction::Forward(at)],
            (Some(_), Kind::NonInvite) => Vec::new(),
            (Some(Outcome::Success { .. } | Outcome::Failure), Kind::Invite) => vec![ForkAction::Release(at)],
            (None, Kind::Invite | Kind::NonInvite) => {
                self.outcome = Some(Outcome::Success { branch: at });
                let mut actions = vec![ForkAction::Forward(at)];
                actions.extend(self.cancel_pending());
                actions
            }
        }
    }

    fn fail(&mut self, at: usize, branch: Branch, status: u16, heard: bool) -> Vec<ForkAction> {
        if !branch.is_pending() {
            return Vec::new();
        }
        self.branches[at].state = BranchState::Failed { status, heard };
        if !heard && branch.cancel == CancelState::No {
            // It may still wake up: then it is told to stop.
            self.branches[at].cancel = CancelState::Wanted;
        }
        let mut actions = Vec::new();
        if status >= 600 {
            actions = self.cancel_pending();
        }
        actions.extend(self.finish());
        actions
    }

    fn rings_too_long(&mut self, at: usize, branch: Branch) -> Vec<ForkAction> {
        match branch.state {
            BranchState::Proceeding if branch.cancel == CancelState::No => {
                self.branches[at].cancel = CancelState::Sent;
                vec![ForkAction::Cancel(at)]
            }
            BranchState::Calling => self.fail(at, branch, 408, false),
            BranchState::Proceeding | BranchState::Failed { .. } | BranchState::Answered => Vec::new(),
        }
    }

    fn cancel_pending(&mut self) -> Vec<ForkAction> {
        if self.kind == Kind::NonInvite {
            return Vec::new();
        }
        let mut actions = Vec::new();
        for (at, branch) in self.branches.iter_mut().enumerate() {
            match (branch.state, branch.cancel) {
                (BranchState::Proceeding, CancelState::No | CancelState::Wanted) => {
                    branch.cancel = CancelState::Sent;
                    actions.push(ForkAction::Cancel(at));
                }
                (BranchState::Calling, CancelState::No) => branch.cancel = CancelState::Wanted,
                (BranchState::Calling | BranchState::Proceeding, CancelState::Wanted | CancelState::Sent)
                | (BranchState::Failed { .. } | BranchState::Answered, _) => {}
            }
        }
        actions
    }

    /// When no branch is pending and nothing went upstream: the next target or the best failure.
    fn finish(&mut self) -> Option<ForkAction> {
        if self.outcome.is_some() || self.branches.iter().any(Branch::is_pending) {
            return None;
        }
        let (at, status, heard) = self.best_failure()?;
        let curable = matches!(status, 408 | 430 | 480 | 503) && !self.cancelled;
        if curable && self.reserve > 0 {
            self.reserve -= 1;
            return Some(ForkAction::TryNext);
        }
        self.outcome = Some(Outcome::Failure);
        Some(match (heard, status) {
            _ if self.cancelled && (!heard || status == 408) => ForkAction::Answer(Best::Status(487)),
            (false, 408) if self.kind == Kind::NonInvite => ForkAction::GiveUp,
            // 503 would make the sender avoid us, not the one that is overloaded (16.7 step 6).
            (true, 503) => ForkAction::Answer(Best::Status(500)),
            // A flow that failed is ours and its far end's affair (RFC 5626 11).
            (true, 430) => ForkAction::Answer(Best::Status(480)),
            (true, _) => ForkAction::Answer(Best::Branch(at)),
            (false, status) => ForkAction::Answer(Best::Status(status)),
        })
    }

    /// RFC 3261 16.7 step 6: any 6xx, else the lowest class, within 4xx those that tell what to do.
    fn best_failure(&self) -> Option<(usize, u16, bool)> {
        self.branches
            .iter()
            .enumerate()
            .filter_map(|(at, branch)| match branch.state {
                BranchState::Failed { status, heard } => Some((at, status, heard)),
                BranchState::Calling | BranchState::Proceeding | BranchState::Answered => None,
            })
            .min_by_key(|&(at, status, heard)| (rank(status, heard), at))
    }
}

fn rank(status: u16, heard: bool) -> (u16, u16) {
    let class = if status >= 600 { 0 } else { status / 100 };
    let within = match status {
        401 | 407 | 415 | 420 | 484 => 0,
        // A phone that said something tells more than one that is gone.
        _ if heard && status != 408 && status != 487 => 1,
        480 => 2,
        487 => 3,
        _ => 4,
    };
    (class, within)
}
