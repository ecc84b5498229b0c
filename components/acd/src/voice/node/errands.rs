//! What the node has done beside its own task, which waits for nobody: requests to Asterisk and Redis whose answers, where
//! they matter, come back as reports.

use std::time::Duration;

use ringdown_domain::{CommandId, TenantId};
use ringdown_events::Command;
use ringdown_redis_store::{Retry, StoreError, keys, redis};
use tokio::sync::mpsc;

use super::{Node, Report};
use crate::voice::Shared;
use crate::voice::ari::node_status;

/// Between two tries of a command that did not reach the router's stream.
const AGAIN: Duration = Duration::from_millis(500);

impl Node {
    /// Runs something beside the node, to its end or that of the ownership.
    pub(super) fn errand(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let fence = self.shared.fence.clone();
        let tracked = self.shared.orders.track_future(async move {
            if fence.while_held(work).await.is_none() {
                log::debug!(name; "given up with the node");
            }
        });
        self.shared.life.spawn_finite(name, tracked);
    }

    /// Hangs channels up, one after the other.
    pub(super) fn hang_up(&self, channels: Vec<(String, u16)>) {
        if channels.is_empty() {
            return;
        }
        let ari = self.shared.ari.clone();
        self.errand("voice hang-up", async move {
            for (channel, cause) in channels {
                if let Err(error) = ari.hang_up(&channel, cause).await {
                    log::warn!(channel = channel.as_str(), error:% = error; "a channel was not hung up");
                }
            }
        });
    }

    /// Deletes bridges of no call.
    pub(super) fn remove_bridges(&self, bridges: Vec<String>) {
        if bridges.is_empty() {
            return;
        }
        let ari = self.shared.ari.clone();
        self.errand("voice bridges", async move {
            for bridge in bridges {
                if let Err(error) = ari.remove_bridge(&bridge).await {
                    log::warn!(bridge = bridge.as_str(), error:% = error; "a bridge of no call stays");
                }
            }
        });
    }

    /// Tells routers something that must reach them: asked again until it does.
    pub(super) fn command(&self, commands: Vec<(TenantId, Command)>) {
        let shared = self.shared.clone();
        self.errand("voice command", async move {
            for (tenant, command) in commands {
                append(&shared, tenant, command).await;
            }
        });
    }

    /// Writes what a successor and `ringdown status` want to know of the node.
    pub(super) fn write_status(&self) {
        let started = self.started.as_deref().unwrap_or_default();
        let status = node_status(&self.shared.config.node, self.connected.is_some(), self.calls.len(), started);
        let shared = self.shared.clone();
        self.errand("voice status", async move {
            let mut cmd = redis::cmd("HSET");
            cmd.arg(keys::NODES).arg(shared.config.node.as_str()).arg(status);
            let written: Result<i64, StoreError> = shared.pool.run("node_status", Retry::Safe, &cmd).await;
            if let Err(error) = written {
                log::warn!(error:% = error; "the node's status was not written");
            }
        });
    }
}

async fn append(shared: &Shared, tenant: TenantId, command: Command) {
    let id: CommandId = shared.life.new_id(CommandId::from_parts);
    while let Err(error) = shared.client.append(tenant, id, command.clone()).await {
        log::warn!(tenant:% = tenant, error:% = error; "a command did not reach the router; trying again");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Hands a report to the node.
pub(super) async fn send(reports: &mpsc::Sender<Report>, report: Report) {
    // A node that is gone needs no report.
    if reports.send(report).await.is_err() {
        log::debug!("a report came after the node was given up");
    }
}
