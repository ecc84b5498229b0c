//! A tenant's rows, read in one REPEATABLE READ snapshot: all parts are of the same moment.

use ringdown_domain::{AgentId, QueueId, RouteId, TenantId, TrunkId};
use ringdown_pg_store::{Isolation, PgError, PgStore, Row, ToSql, Transaction};
use ringdown_provisioner_core::{
    AgentRow, AgentSkillRow, OutboundRouteRow, QueueRow, QueueSkillRow, RouteRow, TenantRows, TrunkRow,
};
use uuid::Uuid;

/// The ids of all tenants, with their revisions.
pub(crate) async fn revisions(pg: &PgStore) -> Result<Vec<(TenantId, u64)>, PgError> {
    let mut session = pg.session("read revisions").await?;
    let rows = session.query("SELECT tenant_id, revision FROM tenant_revisions ORDER BY tenant_id", &[]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), revision(row, 1))).collect())
}

/// Everything of a tenant; none when it does not exist (any more).
pub(crate) async fn read(pg: &PgStore, tenant: TenantId) -> Result<Option<TenantRows>, PgError> {
    let mut session = pg.session("read configuration").await?;
    let mut tx = session.begin(Isolation::Snapshot).await?;
    let sql = "SELECT t.name, t.realm, r.revision FROM tenants t JOIN tenant_revisions r ON r.tenant_id = t.id WHERE t.id = $1";
    let Some(row) = tx.query_opt(sql, &[&tenant.0]).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    let rows = TenantRows {
        tenant,
        name: row.get(0),
        realm: row.get(1),
        revision: revision(&row, 2),
        skills: all(&mut tx, tenant, "SELECT name FROM skills WHERE tenant_id = $1", |row| row.get(0)).await?,
        agents: agents(&mut tx, tenant).await?,
        agent_skills: agent_skills(&mut tx, tenant).await?,
        queues: queues(&mut tx, tenant).await?,
        queue_skills: queue_skills(&mut tx, tenant).await?,
        trunks: trunks(&mut tx, tenant).await?,
        outbound_routes: outbound_routes(&mut tx, tenant).await?,
        routes: routes(&mut tx, tenant).await?,
    };
    tx.rollback().await?;
    Ok(Some(rows))
}

async fn all<T>(tx: &mut Transaction<'_>, tenant: TenantId, sql: &str, read: fn(&Row) -> T) -> Result<Vec<T>, PgError> {
    let values: [&(dyn ToSql + Sync); 1] = [&tenant.0];
    Ok(tx.query(sql, &values).await?.iter().map(read).collect())
}

async fn agents(tx: &mut Transaction<'_>, tenant: TenantId) -> Result<Vec<AgentRow>, PgError> {
    let sql = "SELECT id, name, sip_user, ha1_md5, ha1_sha256 FROM agents WHERE tenant_id = $1";
    all(tx, tenant, sql, |row| AgentRow {
        id: AgentId(row.get(0)),
        name: row.get(1),
        sip_user: row.get(2),
        ha1_md5: row.get(3),
        ha1_sha256: row.get(4),
    })
    .await
}

async fn agent_skills(tx: &mut Transaction<'_>, tenant: TenantId) -> Result<Vec<AgentSkillRow>, PgError> {
    let sql = "SELECT agent_id, skill, level FROM agent_skills WHERE tenant_id = $1";
    all(tx, tenant, sql, |row| AgentSkillRow { agent: AgentId(row.get(0)), skill: row.get(1), level: row.get(2) }).await
}

async fn queues(tx: &mut Transaction<'_>, tenant: TenantId) -> Result<Vec<QueueRow>, PgError> {
    let sql = "SELECT id, name, priority, ring_timeout_ms, wrap_up_ms, wait_limit_ms, capacity, service_level_ms, \
               after_no_answer, busy_limit, recorded FROM queues WHERE tenant_id = $1";
    all(tx, tenant, sql, |row| QueueRow {
        id: QueueId(row.get(0)),
        name: row.get(1),
        priority: row.get(2),
        ring_timeout_ms: row.get(3),
        wrap_up_ms: row.get(4),
        wait_limit_ms: row.get(5),
        capacity: row.get(6),
        service_level_ms: row.get(7),
        after_no_answer: row.get(8),
        busy_limit: row.get(9),
        recorded: row.get(10),
    })
    .await
}

async fn queue_skills(tx: &mut Transaction<'_>, tenant: TenantId) -> Result<Vec<QueueSkillRow>, PgError> {
    let sql = "SELECT queue_id, skill, min_level FROM queue_skills WHERE tenant_id = $1";
    all(tx, tenant, sql, |row| QueueSkillRow { queue: QueueId(row.get(0)), skill: row.get(1), min_level: row.get(2) })
        .await
}

async fn trunks(tx: &mut Transaction<'_>, tenant: TenantId) -> Result<Vec<TrunkRow>, PgError> {
    let sql = "SELECT id, name, sources, capacity, country_code, international_prefix, national_prefix, destination, caller_id \
               FROM trunks WHERE tenant_id = $1";
    all(tx, tenant, sql, |row| TrunkRow {
        id: TrunkId(row.get(0)),
        name: row.get(1),
        sources: row.get(2),
        capacity: row.get(3),
        country_code: row.get(4),
        international_prefix: row.get(5),
        national_prefix: row.get(6),
        destination: row.get(7),
        caller_id: row.get(8),
    })
    .await
}

async fn outbound_routes(tx: &mut Transaction<'_>, tenant: TenantId) -> Result<Vec<OutboundRouteRow>, PgError> {
    let sql = "SELECT id, prefix, strip, prepend, trunks, caller_id FROM outbound_routes WHERE tenant_id = $1";
    all(tx, tenant, sql, |row| OutboundRouteRow {
        id: RouteId(row.get(0)),
        prefix: row.get(1),
        strip: row.get(2),
        prepend: row.get(3),
        trunks: row.get::<_, Vec<Uuid>>(4).into_iter().map(TrunkId).collect(),
        caller_id: row.get(5),
    })
    .await
}

async fn routes(tx: &mut Transaction<'_>, tenant: TenantId) -> Result<Vec<RouteRow>, PgError> {
    let sql = "SELECT id, did, queue_id, trunk_id FROM routes WHERE tenant_id = $1";
    all(tx, tenant, sql, |row| RouteRow {
        id: RouteId(row.get(0)),
        did: row.get(1),
        queue: QueueId(row.get(2)),
        trunk: row.get::<_, Option<Uuid>>(3).map(TrunkId),
    })
    .await
}

/// Revisions start at 1 and only grow.
fn revision(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}
