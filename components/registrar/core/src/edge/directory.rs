//! Who exists: realms, their tenants and users.

use std::collections::BTreeMap;

use ringdown_domain::TenantId;

use crate::digest::Ha1;

/// A tenant's SIP realm.
#[derive(Clone, Debug)]
pub struct Realm {
    /// Whose.
    pub tenant: TenantId,
    /// Users by name, with what is configured for their phones; none for who has a browser's phone only.
    pub users: BTreeMap<String, Option<Ha1>>,
}

/// What a browser's phone may use for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortLived {
    /// The digests.
    pub ha1: Ha1,
    /// UTC milliseconds; worth nothing from then on.
    pub expires_at_ms: u64,
}

/// All realms, by lower-case name. Empty means: not known yet.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The realms.
    pub realms: BTreeMap<String, Realm>,
    /// True once it was read from the store; before that nobody is told that a user does not exist.
    pub loaded: bool,
}

impl Directory {
    pub(super) fn tenant(&self, realm: &str) -> Option<TenantId> {
        self.realms.get(realm).map(|realm| realm.tenant)
    }

    pub(super) fn ha1(&self, realm: &str, user: &str) -> Option<Ha1> {
        self.realms.get(realm)?.users.get(user).cloned().flatten()
    }

    pub(super) fn knows(&self, realm: &str, user: &str) -> bool {
        self.realms.get(realm).is_some_and(|realm| realm.users.contains_key(user))
    }
}
