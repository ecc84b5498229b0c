//! Every task a daemon starts, by name. The only place that calls `tokio::spawn`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one daemon.
#[derive(Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    names: Mutex<Names>,
    shutdown: CancellationToken,
    /// The first failure, which stops the daemon.
    failure: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct Names {
    next: u64,
    running: BTreeMap<u64, Cow<'static, str>>,
}

impl Tasks {
    pub(crate) fn new(shutdown: CancellationToken) -> Arc<Self> {
        let failure = watch::Sender::new(None);
        Arc::new(Self { tracker: TaskTracker::new(), names: Mutex::default(), shutdown, failure })
    }

    /// A task that lives until shutdown: an error, a panic or an early end stops the daemon.
    pub(crate) fn spawn<F>(self: &Arc<Self>, name: Cow<'static, str>, future: F) -> AbortHandle
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.track(name, async move {
            match future.await {
                Ok(()) if shutdown.is_cancelled() => Ok(()),
                Ok(()) => Err("ended although nobody asked it to".into()),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }

    /// A task that ends when its work is done; only a panic stops the daemon.
    pub(crate) fn spawn_finite<F>(self: &Arc<Self>, name: Cow<'static, str>, future: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.track(name, future.map(Ok))
    }

    /// Names the failure that stops the daemon; the first one counts.
    pub(crate) fn fail(&self, why: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(why);
            }
            first
        });
    }

    /// Waits for the first failure.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let seen = failure.wait_for(Option::is_some).await;
        seen.ok().and_then(|why| why.clone()).unwrap_or_else(|| "the task tracker is gone".into())
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Waits until every task has ended.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(crate) fn running(&self) -> Vec<String> {
        self.names().running.values().map(ToString::to_string).collect()
    }

    fn track<F>(self: &Arc<Self>, name: Cow<'static, str>, future: F) -> AbortHandle
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let guard = NameGuard::new(Arc::clone(self), name);
        let watched = async move {
            // After a panic the future is dropped and never looked at again; what it shared is judged by its owners.
            let problem = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(Ok(())) => return,
                Ok(Err(problem)) => problem,
                Err(_) => "panicked".into(),
            };
            guard.fail(&problem);
        };
        self.tracker.spawn(watched).abort_handle()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // One insert or remove at a time, so a panic elsewhere leaves the map whole.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a task's name in the list while the task exists, also when it is aborted.
struct NameGuard {
    tasks: Arc<Tasks>,
    number: u64,
}

impl NameGuard {
    fn new(tasks: Arc<Tasks>, name: Cow<'static, str>) -> Self {
        let number = {
            let mut names = tasks.names();
            names.next += 1;
            let number = names.next;
            names.running.insert(number, name);
            number
        };
        Self { tasks, number }
    }

    fn fail(&self, problem: &str) {
        let name = self.tasks.names().running.get(&self.number).cloned().unwrap_or_default();
        log::error!(task = name.as_ref(); "task {problem}; the daemon stops");
        self.tasks.fail(format!("task {name} {problem}"));
    }
}

impl Drop for NameGuard {
    fn drop(&mut self) {
        self.tasks.names().running.remove(&self.number);
    }
}
