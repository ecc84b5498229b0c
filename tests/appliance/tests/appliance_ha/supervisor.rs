//! A supervisor of the test: agents who are to be ready are made ready again when the router found their phones gone.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ringdown_appliance::fleet::Fleet;
use serde_json::Value;

use crate::http::Client;

const EVERY: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(3);

/// Looks at the agents all the time, until dropped.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    ready: Mutex<BTreeSet<String>>,
    made_ready: AtomicU32,
}

impl Supervisor {
    /// `ready` are the ids of the agents who are to be ready; the others of the tenant are not to be.
    pub(crate) fn start(
        fleet: &Fleet,
        front: SocketAddr,
        token: &str,
        tenant: &str,
        ready: BTreeSet<String>,
    ) -> anyhow::Result<Self> {
        let shared =
            Arc::new(Shared { stop: AtomicBool::new(false), ready: Mutex::new(ready), made_ready: AtomicU32::new(0) });
        let (own, token, tenant) = (Arc::clone(&shared), token.to_owned(), tenant.to_owned());
        let thread = fleet.in_network(move || {
            let mut client = Client::new(front, &token, LIMIT).without_keeping();
            let mut count = 0;
            while !own.stop.load(Ordering::Relaxed) {
                // What fails now is done at the next look.
                drop(own.look(&mut client, &tenant, &mut count));
                std::thread::sleep(EVERY);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// From now on this agent is to be ready, or not.
    pub(crate) fn wants(&self, agent: &str, ready: bool) {
        let mut wanted = self.shared.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready {
            wanted.insert(agent.to_owned())
        } else {
            wanted.remove(agent)
        };
    }

    /// How often an agent was made ready.
    pub(crate) fn made_ready(&self) -> u32 {
        self.shared.made_ready.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn look(&self, client: &mut Client, tenant: &str, count: &mut u32) -> anyhow::Result<()> {
        let said = client.get(&format!("/api/v1/tenants/{tenant}/live/agents?limit=500"))?;
        let said: Value = serde_json::from_str(&said.body)?;
        for agent in said["items"].as_array().into_iter().flatten() {
            let Some(id) = agent["id"].as_str() else { continue };
            let wanted = self.ready.lock().unwrap_or_else(PoisonError::into_inner).contains(id);
            let is = agent["status"]["kind"] == "ready";
            if wanted == is {
                continue;
            }
            *count += 1;
            let body = if wanted { "{\"status\":\"ready\"}" } else { "{\"status\":\"not_ready\"}" };
            let path = format!("/api/v1/tenants/{tenant}/agents/{id}/status");
            if client.put(&path, &format!("{id}-{count}"), body)?.status == 200 && wanted {
                self.made_ready.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody is left to be told of its end.
            thread.join().ok();
        }
    }
}
