//! The tenant a simulation runs in.

use anyhow::Context;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Api;
use crate::arguments::SimCommon;
use crate::output;

/// A tenant, made here or given.
#[derive(Clone, Debug)]
pub(super) struct SimTenant {
    pub(super) id: Uuid,
    pub(super) realm: String,
    remove: bool,
}

impl SimTenant {
    /// The given tenant, or a new one.
    pub(super) async fn open(api: &Api, common: &SimCommon) -> anyhow::Result<Self> {
        if let Some(id) = common.tenant {
            let tenant: Value = api.read(&format!("/tenants/{id}")).await?;
            let realm = tenant["realm"].as_str().context("a tenant has a realm")?.to_owned();
            return Ok(Self { id, realm, remove: false });
        }
        let mark = &Uuid::now_v7().simple().to_string()[20..];
        let realm = format!("sim-{mark}.ringdown.invalid");
        let made: Value =
            api.post("/tenants", &json!({ "name": format!("Simulation {mark}"), "realm": realm })).await?;
        Ok(Self { id: id_of(&made)?, realm, remove: !common.keep })
    }

    /// A path of the tenant.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/tenants/{}/{rest}", self.id)
    }

    /// Makes skills; those that are there stay.
    pub(super) async fn make_skills(&self, api: &Api, names: &[&str]) -> anyhow::Result<()> {
        let there = api.list(&self.path("skills")).await?;
        for name in names {
            if !there.iter().any(|skill| skill["name"] == *name) {
                api.post::<Value>(&self.path("skills"), &json!({ "name": name })).await?;
            }
        }
        Ok(())
    }

    /// Makes an agent; gives the id.
    pub(super) async fn make_agent(&self, api: &Api, input: &Value) -> anyhow::Result<Uuid> {
        id_of(&api.post(&self.path("agents"), input).await?)
    }

    /// Declares an agent ready.
    pub(super) async fn set_ready(&self, api: &Api, agent: Uuid) -> anyhow::Result<()> {
        api.put::<Value>(&self.path(&format!("agents/{agent}/status")), &json!({ "status": "ready" })).await.map(drop)
    }

    /// Removes what the simulation made: the tenant, or in a given one its agents.
    pub(super) async fn close(&self, api: &Api, agents: &[Uuid]) -> anyhow::Result<()> {
        if self.remove {
            return api.delete(&format!("/tenants/{}", self.id)).await;
        }
        for agent in agents {
            api.put::<Value>(&self.path(&format!("agents/{agent}/status")), &json!({ "status": "logged_out" })).await?;
        }
        output::note(format!("kept: tenant {} with {} agents, logged out", self.id, agents.len()));
        Ok(())
    }
}

/// The id of what the API shows.
pub(super) fn id_of(value: &Value) -> anyhow::Result<Uuid> {
    value["id"].as_str().and_then(|id| id.parse().ok()).context("the API gave no id")
}
