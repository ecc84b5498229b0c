//! Trunks: the carriers' connections.

use axum::extract::State;
use ringdown_domain::{Name, TenantId, TrunkId};
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaFormat, Type};
use uuid::Uuid;

use super::fields::{self, AtMost, Bounded, CallerId, CountryCode, Destination, DialPrefix, Source};
use crate::answers::{self, ChangeHeaders, Id, IdempotencyHeader, Json, Page, Paging, Query, TenantPath, TrunkPath};
use crate::app::App;
use crate::auth::access::{Administer, InTenant, Supervise};
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

type Capacity = Bounded<1, 10_000>;
type Sources = AtMost<Source, 32>;

/// A trunk.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trunk {
    /// Which.
    pub id: Uuid,
    /// The name administrators see.
    pub name: String,
    /// Addresses or networks the carrier calls from, in their shortest form.
    pub sources: Vec<String>,
    /// Most calls at once.
    pub capacity: i32,
    /// The country whose national numbers the carrier sends; null: they stay as they are.
    pub country_code: Option<String>,
    /// What stands before a number with its country's code, beside `+`.
    pub international_prefix: String,
    /// What stands before a number of the country itself.
    pub national_prefix: String,
    /// Where calls over this trunk go; null: calls only come in.
    pub destination: Option<String>,
    /// The number that calls over it show unless their outbound route says another; null: the carrier's default.
    pub caller_id: Option<String>,
}

/// A new trunk.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrunkInput {
    /// The name administrators see: 1 to 120 characters.
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Name,
    /// Addresses or networks the carrier calls from, as `192.0.2.7` or `192.0.2.0/24`; 1 to 32.
    #[schema(schema_with = sources_schema)]
    sources: Sources,
    /// Most calls at once, 1 to 10,000; 100 when left out.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000)]
    capacity: Option<Capacity>,
    /// The country whose national numbers the carrier sends, as `49`: dialled and calling numbers are brought into the form
    /// `+4930123456` by it. Left out: national forms stay as they are.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[1-9][0-9]{0,2}$")]
    country_code: Option<CountryCode>,
    /// What stands before a number with its country's code, beside `+`; `00` when left out, empty for nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{0,5}$")]
    international_prefix: Option<DialPrefix>,
    /// What stands before a number of the country itself; `0` when left out, empty for nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{0,5}$")]
    national_prefix: Option<DialPrefix>,
    /// Where calls over this trunk go: an IP address with or without a port, as `192.0.2.7:5060`. Left out: calls only come in.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(:[1-9][0-9]{0,3})?$")]
    destination: Option<Destination>,
    /// The number that calls over it show unless their outbound route says another: 1 to 20 digits, with or without `+`.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[+]?[0-9]{1,20}$")]
    caller_id: Option<CallerId>,
}

/// A change of a trunk; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrunkPatch {
    /// Another name.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Option<Name>,
    /// All sources anew.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(schema_with = sources_schema)]
    sources: Option<Sources>,
    /// Another capacity.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = i32, minimum = 1, maximum = 10_000)]
    capacity: Option<Capacity>,
    /// Another country, or null for none.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<String>, pattern = "^[1-9][0-9]{0,2}$")]
    country_code: Option<Option<CountryCode>>,
    /// Another international prefix.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, pattern = "^[0-9]{0,5}$")]
    international_prefix: Option<DialPrefix>,
    /// Another national prefix.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, pattern = "^[0-9]{0,5}$")]
    national_prefix: Option<DialPrefix>,
    /// Another destination, or null for none.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<String>, pattern = "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(:[1-9][0-9]{0,3})?$")]
    destination: Option<Option<Destination>>,
    /// Another number to show, or null for none.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<String>, pattern = "^[+]?[0-9]{1,20}$")]
    caller_id: Option<Option<CallerId>>,
}

const COLUMNS: &str = "id, name, sources, capacity, country_code, international_prefix, national_prefix, destination, \
     caller_id, xmin::text AS etag";

fn from_row(row: &Row) -> (Trunk, String) {
    let trunk = Trunk {
        id: row.get("id"),
        name: row.get("name"),
        sources: row.get("sources"),
        capacity: row.get("capacity"),
        country_code: row.get("country_code"),
        international_prefix: row.get("international_prefix"),
        national_prefix: row.get("national_prefix"),
        destination: row.get("destination"),
        caller_id: row.get("caller_id"),
    };
    (trunk, db::etag(row))
}

/// An IPv4 network of 8 bits or more, and an IPv6 network of 16 or more in the two forms that people write.
const V4_NETWORK: &str = "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/\
    (8|9|[12][0-9]|3[0-2])$";
const V6_NETWORK: &str = "^(([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|([0-9A-Fa-f]{1,4}:){1,6}:)/\
    (1[6-9]|[2-9][0-9]|1[01][0-9]|12[0-8])$";

fn sources_schema() -> utoipa::openapi::Array {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let source = AnyOfBuilder::new()
        .item(text().format(Some(SchemaFormat::Custom("ipv4".to_owned()))))
        .item(text().format(Some(SchemaFormat::Custom("ipv6".to_owned()))))
        .item(text().pattern(Some(V4_NETWORK)))
        .item(text().pattern(Some(V6_NETWORK)));
    ArrayBuilder::new().items(source).min_items(Some(1)).max_items(Some(32)).build()
}

fn texts(sources: &Sources) -> Result<Vec<String>, Problem> {
    if sources.0.is_empty() {
        return Err(answers::invalid("sources", "must have 1 to 32 items"));
    }
    let mut texts: Vec<String> = sources.0.iter().map(|source| source.as_str().to_owned()).collect();
    texts.sort_unstable();
    texts.dedup();
    Ok(texts)
}

#[expect(clippy::cast_possible_truncation, reason = "the type bounds it to 1 to 10,000")]
fn number(capacity: Capacity) -> i32 {
    capacity.value() as i32
}

/// Lists trunks by id.
#[utoipa::path(get, path = "/tenants/{tenant}/trunks", tag = "trunks", params(TenantPath, Paging),
    responses((status = 200, description = "A page.", body = Page<Trunk>)))]
pub async fn list_trunks(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Trunk>>, Problem> {
    let limit = paging.limit.unwrap_or_default();
    let after = paging.cursor.as_deref().map(answers::id_cursor).transpose()?.unwrap_or_default();
    let sql = format!("SELECT {COLUMNS} FROM trunks WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
    let rows = db::query(&app, "read_trunks", &sql, &[&scope.tenant.0, &after, &limit.plus_one()]).await?;
    let trunks = rows.iter().map(|row| from_row(row).0).collect();
    Ok(Json(Page::cut(trunks, limit, |trunk| trunk.id.to_string())))
}

/// One trunk.
#[utoipa::path(get, path = "/tenants/{tenant}/trunks/{trunk}", tag = "trunks",
    params(TenantPath, TrunkPath),
    responses((status = 200, description = "The trunk.", body = Trunk)))]
pub async fn get_trunk(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<TrunkId>,
) -> Result<db::Shown<Trunk>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM trunks WHERE tenant_id = $1 AND id = $2");
    let rows = db::query(&app, "read_trunks", &sql, &[&scope.tenant.0, &id.0]).await?;
    let (object, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("trunk"))?);
    Ok(db::Shown { object, etag })
}

/// Makes a trunk.
#[utoipa::path(post, path = "/tenants/{tenant}/trunks", tag = "trunks",
    params(TenantPath, IdempotencyHeader), request_body = TrunkInput,
    responses((status = 201, description = "Made.", body = Trunk)))]
pub async fn create_trunk(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Change { input, terms }: Change<TrunkInput>,
) -> Result<Written, Problem> {
    let id = app.new_id(TrunkId::from_parts);
    let sources = texts(&input.sources)?;
    let capacity = number(input.capacity.unwrap_or(Bounded::clamped(100)));
    let plan = ringdown_domain::NumberPlan::default();
    let country = input.country_code.as_ref().map(CountryCode::as_str);
    let international = input.international_prefix.as_ref().map_or(&*plan.international_prefix, DialPrefix::as_str);
    let national = input.national_prefix.as_ref().map_or(&*plan.national_prefix, DialPrefix::as_str);
    let destination = input.destination.as_ref().map(Destination::as_str);
    let caller_id = input.caller_id.as_ref().map(CallerId::as_str);
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        quotas::check_row(&app, tx, scope.tenant, Quota::Trunks).await?;
        refuse_own_addresses(&app, tx, &sources).await?;
        let sql = format!(
            "INSERT INTO trunks (id, tenant_id, name, sources, capacity, country_code, international_prefix, national_prefix, \
             destination, caller_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING {COLUMNS}"
        );
        let name = input.name.as_str();
        let values: db::Values<'_, 10> = [
            &id.0,
            &scope.tenant.0,
            &name,
            &sources,
            &capacity,
            &country,
            &international,
            &national,
            &destination,
            &caller_id,
        ];
        let (trunk, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::created(format!("/api/v1/tenants/{}/trunks/{id}", scope.tenant), etag, &trunk)
    })
}

/// Changes a trunk.
#[utoipa::path(patch, path = "/tenants/{tenant}/trunks/{trunk}", tag = "trunks",
    params(TenantPath, TrunkPath, ChangeHeaders), request_body = TrunkPatch,
    responses((status = 200, description = "Changed.", body = Trunk)))]
pub async fn patch_trunk(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<TrunkId>,
    Change { input, terms }: Change<TrunkPatch>,
) -> Result<Written, Problem> {
    let sources = input.sources.as_ref().map(texts).transpose()?;
    let capacity = input.capacity.map(number);
    let name = input.name.as_ref().map(Name::as_str);
    let country_given = input.country_code.is_some();
    let country = input.country_code.as_ref().and_then(Option::as_ref).map(CountryCode::as_str);
    let international = input.international_prefix.as_ref().map(DialPrefix::as_str);
    let national = input.national_prefix.as_ref().map(DialPrefix::as_str);
    let destination_given = input.destination.is_some();
    let destination = input.destination.as_ref().and_then(Option::as_ref).map(Destination::as_str);
    let caller_id_given = input.caller_id.is_some();
    let caller_id = input.caller_id.as_ref().and_then(Option::as_ref).map(CallerId::as_str);
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        if let Some(sources) = &sources {
            refuse_own_addresses(&app, tx, sources).await?;
        }
        let sql = format!(
            "UPDATE trunks SET name = coalesce($3, name), sources = coalesce($4, sources), \
             capacity = coalesce($5, capacity), country_code = CASE WHEN $6 THEN $7 ELSE country_code END, \
             international_prefix = coalesce($8, international_prefix), \
             national_prefix = coalesce($9, national_prefix), \
             destination = CASE WHEN $10 THEN $11 ELSE destination END, \
             caller_id = CASE WHEN $12 THEN $13 ELSE caller_id END, \
             updated_at = now() WHERE tenant_id = $1 AND id = $2 RETURNING {COLUMNS}"
        );
        let values: db::Values<'_, 13> = [
            &scope.tenant.0,
            &id.0,
            &name,
            &sources,
            &capacity,
            &country_given,
            &country,
            &international,
            &national,
            &destination_given,
            &destination,
            &caller_id_given,
            &caller_id,
        ];
        let (trunk, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::changed(etag, &trunk)
    })
}

/// Removes a trunk. One that a route names is not removed (409).
#[utoipa::path(delete, path = "/tenants/{tenant}/trunks/{trunk}", tag = "trunks",
    params(TenantPath, TrunkPath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_trunk(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<TrunkId>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        let values: db::Values<'_, 2> = [&scope.tenant.0, &id.0];
        let sql = "SELECT did FROM routes WHERE tenant_id = $1 AND trunk_id = $2 ORDER BY did LIMIT 20";
        let routes = db::all(tx, sql, &values).await?;
        if !routes.is_empty() {
            let numbers: Vec<String> = routes.iter().map(|row| row.get("did")).collect();
            let detail = format!("routes name this trunk: {}", numbers.join(", "));
            return Err(answers::conflict("trunk_in_use", detail));
        }
        let sql =
            "SELECT prefix FROM outbound_routes WHERE tenant_id = $1 AND $2 = ANY (trunks) ORDER BY prefix LIMIT 20";
        let outbound = db::all(tx, sql, &values).await?;
        if !outbound.is_empty() {
            let prefixes: Vec<String> =
                outbound.iter().map(|row| format!("\"{}\"", row.get::<_, String>("prefix"))).collect();
            let detail = format!("outbound routes use this trunk: {}", prefixes.join(", "));
            return Err(answers::conflict("trunk_in_use", detail));
        }
        db::execute(tx, "DELETE FROM trunks WHERE tenant_id = $1 AND id = $2", &values).await?;
        Ok(Effect::removed())
    })
}

/// Calls from our own addresses are agents' phones and other nodes, never a carrier. Overlaps between trunks are the schema's
/// to refuse, which sees them whoever writes at the same time.
async fn refuse_own_addresses(app: &App, tx: &mut Tx<'_>, sources: &[String]) -> Result<(), Problem> {
    let renderers = ringdown_redis_store::renderers(&app.redis, app.clock.now()).await;
    let renderers = renderers.map_err(|error| answers::store_problem(&error))?;
    let own: Vec<String> = renderers.values().flat_map(|sign| sign.addresses.iter().map(ToString::to_string)).collect();
    let sql =
        "SELECT 1 FROM unnest($1::text[]) AS own, unnest($2::text[]) AS asked WHERE own::inet && asked::inet LIMIT 1";
    match db::maybe(tx, sql, &[&own, &sources]).await? {
        Some(_) => Err(db::source_taken()),
        None => Ok(()),
    }
}

async fn lock(tx: &mut Tx<'_>, tenant: TenantId, id: TrunkId, terms: &Terms) -> Result<(), Problem> {
    let sql = "SELECT xmin::text AS etag FROM trunks WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    let row = db::maybe(tx, sql, &[&tenant.0, &id.0]).await?;
    terms.check(&db::etag(&row.ok_or_else(|| answers::not_found("trunk"))?))
}
