//! Configurations by tenant, the tenant of each trunk, and what cannot be read of whom. While anything cannot, nobody can say
//! whose a channel is not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ringdown_domain::{TenantId, TrunkId};
use ringdown_events::CompiledConfig;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Configs {
    readable: HashMap<TenantId, Arc<CompiledConfig>>,
    /// Tenants whose configuration could not be read.
    missed: HashSet<TenantId>,
    /// Tenants the state of whose calls could not be read. A configuration that can be says nothing about that.
    unread: HashSet<TenantId>,
}

impl Configs {
    pub(crate) fn insert(&mut self, config: Arc<CompiledConfig>) {
        self.missed.remove(&config.meta.tenant);
        self.readable.insert(config.meta.tenant, config);
    }

    /// The tenant's configuration cannot be read.
    pub(crate) fn missed(&mut self, tenant: TenantId) {
        self.missed.insert(tenant);
    }

    /// The state of the tenant's calls cannot be read.
    pub(crate) fn state_missed(&mut self, tenant: TenantId) {
        self.unread.insert(tenant);
    }

    /// It could be read.
    pub(crate) fn state_read(&mut self, tenant: TenantId) {
        self.unread.remove(&tenant);
    }

    /// The tenants whose state is still to be read.
    pub(crate) fn unread(&self) -> Vec<TenantId> {
        self.unread.iter().copied().collect()
    }

    /// Whether this tenant's state is still to be read.
    pub(crate) fn is_unread(&self, tenant: TenantId) -> bool {
        self.unread.contains(&tenant)
    }

    /// Whether some tenant's trunks or calls are not known.
    pub(crate) fn is_partly_blind(&self) -> bool {
        !self.missed.is_empty() || !self.unread.is_empty()
    }

    /// The tenant has no configuration any more. Its calls, if any, are still to be read.
    pub(crate) fn remove(&mut self, tenant: TenantId) {
        self.missed.remove(&tenant);
        self.readable.remove(&tenant);
    }

    pub(crate) fn get(&self, tenant: TenantId) -> Option<&Arc<CompiledConfig>> {
        self.readable.get(&tenant)
    }

    pub(crate) fn of_trunk(&self, trunk: TrunkId) -> Option<&Arc<CompiledConfig>> {
        self.readable.values().find(|config| config.trunks.contains_key(&trunk))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use ringdown_domain::{TenantId, TimestampMs};
    use ringdown_events::{CompiledConfig, ConfigMeta};

    use super::Configs;

    fn config(tenant: TenantId) -> Arc<CompiledConfig> {
        let (name, realm) = ("T".parse().unwrap(), "t.invalid".to_owned());
        let meta = ConfigMeta {
            tenant,
            name,
            realm,
            version: 1,
            compiled_at_ms: TimestampMs(1),
            counts: BTreeMap::new(),
            outbound: Vec::new(),
        };
        Arc::new(CompiledConfig {
            meta,
            skills: BTreeSet::new(),
            agents: BTreeMap::new(),
            queues: BTreeMap::new(),
            routes: BTreeMap::new(),
            trunks: BTreeMap::new(),
            credentials: BTreeMap::new(),
        })
    }

    #[test]
    fn a_configuration_that_can_be_read_says_nothing_about_calls_that_cannot() {
        let tenant = TenantId::from_parts(1, &[1; 10]);
        let mut configs = Configs::default();
        configs.missed(tenant);
        assert!(configs.is_partly_blind());
        configs.insert(config(tenant));
        assert!(!configs.is_partly_blind());
        configs.state_missed(tenant);
        configs.insert(config(tenant));
        assert!(configs.is_partly_blind(), "its calls are still unknown");
        configs.remove(tenant);
        assert_eq!(configs.unread(), [tenant]);
        configs.state_read(tenant);
        assert!(!configs.is_partly_blind());
    }
}
