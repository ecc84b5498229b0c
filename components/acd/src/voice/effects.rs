//! Reads what the router decided for this node's calls, in a task of its own: a blocking read must not be cut off.

use std::collections::HashMap;
use std::time::Duration;

use ringdown_domain::TenantId;
use ringdown_events::VoiceEffectEntry;
use ringdown_redis_store::{StreamReader, StreamStart, keys};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// Effects per read and stream.
const READ: usize = 1_000;

/// One effect and whose it is.
pub(crate) type TenantEffect = (TenantId, VoiceEffectEntry);

/// Follows the streams of the tenants named by `follows` until `end`.
pub(crate) async fn follow(
    shared: Shared,
    mut follows: mpsc::Receiver<(TenantId, StreamStart)>,
    effects: mpsc::Sender<TenantEffect>,
    end: CancellationToken,
) {
    let mut reader = StreamReader::new(&shared.pool, "voice_effects", READ);
    let mut tenants: HashMap<String, TenantId> = HashMap::new();
    loop {
        let next = if reader.is_empty() {
            tokio::select! {
                next = follows.recv() => next,
                () = end.cancelled() => return,
            }
        } else {
            follows.try_recv().ok()
        };
        if let Some((tenant, from)) = next {
            let stream = keys::voice(tenant, &shared.config.node);
            reader.follow(&stream, from);
            tenants.insert(stream, tenant);
            continue;
        }
        let read = tokio::select! {
            read = reader.next(Duration::from_millis(500)) => read,
            () = end.cancelled() => return,
        };
        let entries = match read {
            Ok(entries) => entries,
            Err(error) => {
                log::warn!(error:% = error; "effects are not readable; trying again");
                tokio::time::sleep(reader.pause_after_failure()).await;
                continue;
            }
        };
        for entry in entries {
            let Some(tenant) = tenants.get(&entry.stream).copied() else { continue };
            match serde_json::from_str(entry.field(keys::ENTRY_FIELD).unwrap_or_default()) {
                Ok(effect) => {
                    // A node that is gone needs no effects: its successor reads the state.
                    if effects.send((tenant, effect)).await.is_err() {
                        return;
                    }
                }
                Err(error) => log::error!(id = entry.id, error:% = error; "an effect could not be read"),
            }
        }
    }
}
