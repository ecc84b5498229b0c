//! The supervisor: all servers and daemons of an installation as children of this process.
//!
//! ```text
//!           spawn            ends by itself           wait over
//! waiting ---------> running ---------------> dead ------------> running ...
//!    |                  | stop: its signal, its limit, SIGKILL
//!    '------------------+--------------------> stopped
//! ```
//!
//! Each child has one task that keeps it ([`keep`]), a name in front of every line it writes, and a row on the [`Board`].
//! Children are told to die with this process (PR_SET_PDEATHSIG), so that a killed supervisor leaves nothing behind; they
//! are in process groups of their own, so that Ctrl-C reaches only us and the end has its order.
//!
//! Never here: what a daemon does, and signals to anything that was not started here.

mod asterisk;
mod board;
mod child;
mod daemons;
mod journal;
mod keep;
pub(crate) mod postgres;
mod programs;
mod redis;
mod restarts;
mod rtpengine;

pub(crate) use asterisk::AsteriskPlace;
pub(crate) use board::{Board, ChildState, Row};
pub(crate) use child::{Child, Stage};
pub(crate) use daemons::postgres_variables;
pub(crate) use journal::Journal;
pub(crate) use programs::find_program;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::installation::Installation;
use keep::{Order, keep};

/// What is run, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The daemons' programs.
    pub(crate) programs: PathBuf,
    /// Asterisk; none when it is not run here.
    pub(crate) asterisk: Option<AsteriskPlace>,
    /// Parts that are not run here.
    pub(crate) without: Vec<String>,
}

impl Plan {
    /// Makes what the servers need (folders, secrets, configuration files), and describes all children in the order of
    /// their start.
    pub(crate) async fn prepare(&self, installation: &Installation) -> anyhow::Result<Vec<Child>> {
        let mut children = Vec::new();
        if self.runs("redis") {
            children.push(redis::prepare(installation)?);
        }
        if self.runs("postgres") {
            children.push(postgres::prepare(installation).await?);
        }
        if self.runs("rtpengine") {
            children.extend(rtpengine::prepare(installation)?);
        }
        for child in daemons::describe(installation, &self.programs, self.asterisk.as_ref())? {
            if self.runs(child.name()) {
                children.push(child);
            }
        }
        if let Some(asterisk) = self.asterisk.as_ref().filter(|_| self.runs("asterisk")) {
            children.push(asterisk.prepare(installation)?);
        }
        Ok(children)
    }

    /// Whether a part is run here.
    pub(crate) fn runs(&self, name: &str) -> bool {
        !self.without.iter().any(|without| without == name)
    }
}

/// Running children.
#[derive(Debug)]
pub(crate) struct Supervisor {
    board: Arc<Board>,
    journal: Arc<Journal>,
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    stage: Stage,
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Nothing runs yet.
    pub(crate) fn new(board: Arc<Board>, journal: Arc<Journal>) -> Self {
        Self { board, journal, kept: Vec::new() }
    }

    /// Starts a child, and keeps it running.
    pub(crate) fn start(&mut self, child: Child) {
        let (orders, inbox) = watch::channel(Order::Run);
        let stage = child.stage();
        let task = tokio::spawn(keep(child, inbox, self.board.clone(), self.journal.clone()));
        self.kept.push(Kept { stage, orders, task });
    }

    /// Stops all, stage by stage: what takes in work first, what keeps state last.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for stage in Stage::STOP_ORDER {
            let (now, later): (Vec<_>, Vec<_>) = self.kept.into_iter().partition(|kept| kept.stage == stage);
            self.kept = later;
            for kept in &now {
                kept.orders.send_replace(Order::Stop);
            }
            for kept in now {
                kept.task.await.context("a child's keeper")?;
            }
        }
        Ok(())
    }
}

/// How long a child may take to end after its signal, beyond its own drain limit.
const STOP_GRACE: Duration = Duration::from_secs(5);
