//! Who asks, and what a role may do. One table, asked by every route through [`super::access`].

use ringdown_domain::{AgentId, TenantId, UserId};
use ringdown_live_views::Scope;
use ringdown_redis_store::session;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Their own status and the interactions they handle.
    Agent,
    /// Everything live in their tenant; reads its configuration.
    Supervisor,
    /// Everything in their tenant; without a tenant, everything in the installation.
    Administrator,
}

impl Role {
    /// The role as it is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Supervisor => "supervisor",
            Self::Administrator => "administrator",
        }
    }

    /// The role of a stored name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Agent, Self::Supervisor, Self::Administrator].into_iter().find(|role| role.name() == name)
    }
}

impl From<session::Role> for Role {
    fn from(role: session::Role) -> Self {
        match role {
            session::Role::Agent => Self::Agent,
            session::Role::Supervisor => Self::Supervisor,
            session::Role::Administrator => Self::Administrator,
        }
    }
}

impl From<Role> for session::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Agent => Self::Agent,
            Role::Supervisor => Self::Supervisor,
            Role::Administrator => Self::Administrator,
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user: UserId,
    /// The tenant; none only for an administrator of the whole installation.
    pub tenant: Option<TenantId>,
    /// What the user may do.
    pub role: Role,
    /// The agent this user is, if any.
    pub agent: Option<AgentId>,
    /// The user's generation when the log-in began.
    pub generation: u64,
}

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any role; the route checks that the object is the agent's own.
    Work,
    /// A supervisor or an administrator.
    Supervise,
    /// An administrator.
    Administer,
    /// An administrator of the whole installation.
    Install,
}

impl Principal {
    /// Whether this user may see that a tenant exists. Others' tenants are answered as unknown.
    #[must_use]
    pub fn sees(&self, tenant: TenantId) -> bool {
        match self.tenant {
            Some(own) => own == tenant,
            None => self.role == Role::Administrator,
        }
    }

    /// Whether the role suffices; that the tenant is the right one is [`Principal::sees`].
    #[must_use]
    pub fn may(&self, need: Need) -> bool {
        match need {
            Need::Work => true,
            Need::Supervise => self.role >= Role::Supervisor,
            Need::Administer => self.role == Role::Administrator,
            Need::Install => self.role == Role::Administrator && self.tenant.is_none(),
        }
    }

    /// What of the tenant's live ACD this user sees; none: nothing.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        if self.may(Need::Supervise) { Some(Scope::Tenant) } else { self.agent.map(Scope::Agent) }
    }

    /// Whether this user may act for `agent`: supervisors for everybody, agents for themselves.
    #[must_use]
    pub fn may_act_for(&self, agent: AgentId) -> bool {
        self.scope().is_some_and(|scope| scope.sees_agent(agent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(role: Role, tenant: Option<TenantId>) -> Principal {
        let user = UserId::from_parts(1, &[1; 10]);
        Principal { user, tenant, role, agent: None, generation: 0 }
    }

    #[test]
    fn the_table_of_roles() {
        let tenant = Some(TenantId::from_parts(1, &[2; 10]));
        let rows = [
            (somebody(Role::Agent, tenant), [true, false, false, false]),
            (somebody(Role::Supervisor, tenant), [true, true, false, false]),
            (somebody(Role::Administrator, tenant), [true, true, true, false]),
            (somebody(Role::Administrator, None), [true, true, true, true]),
        ];
        for (who, expected) in rows {
            let may = [Need::Work, Need::Supervise, Need::Administer, Need::Install].map(|need| who.may(need));
            assert_eq!(may, expected, "{who:?}");
        }
    }

    #[test]
    fn tenants_do_not_see_each_other() {
        let own = TenantId::from_parts(1, &[2; 10]);
        let other = TenantId::from_parts(1, &[3; 10]);
        let supervisor = somebody(Role::Supervisor, Some(own));
        assert!(supervisor.sees(own) && !supervisor.sees(other));
        let root = somebody(Role::Administrator, None);
        assert!(root.sees(own) && root.sees(other));
        assert!(!somebody(Role::Supervisor, None).sees(own), "only an administrator may be without a tenant");
    }

    #[test]
    fn agents_act_for_themselves_only() {
        let me = AgentId::from_parts(1, &[4; 10]);
        let other = AgentId::from_parts(1, &[5; 10]);
        let agent = Principal { agent: Some(me), ..somebody(Role::Agent, Some(TenantId::from_parts(1, &[2; 10]))) };
        assert!(agent.may_act_for(me) && !agent.may_act_for(other));
    }
}
