//! What a contender for a tenant's lease has, and lends to the tenure while the lease is held.

use std::sync::Arc;

use ringdown_domain::TenantId;
use ringdown_events::CompiledConfig;
use ringdown_service::Heartbeat;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// See the module's text.
pub(crate) struct Seat {
    pub(crate) shared: Shared,
    pub(crate) tenant: TenantId,
    pub(crate) configs: watch::Receiver<Arc<CompiledConfig>>,
    /// The tenant's routing ends here, or the daemon does.
    pub(crate) stop: CancellationToken,
    pub(crate) heartbeat: Heartbeat,
}
