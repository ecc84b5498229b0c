//! Who exists, from the compiled configuration; and where they were last registered, at the start.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ringdown_domain::TenantId;
use ringdown_events::{AgentConfig, CompiledConfig};
use ringdown_redis_store::{ConfigChange, ConfigReader, ConfigWatch, RedisPool, Retry, keys, redis};
use ringdown_registrar_core::bindings::Aor;
use ringdown_registrar_core::digest::Ha1;
use ringdown_registrar_core::edge::{Directory, Realm};
use ringdown_service::{Backoff, Life, Readiness, Shutdown};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use crate::driver::Input;
use crate::store::read_bindings;

/// How many users' bindings are read in one round trip.
const LOAD_CHUNK: usize = 500;
/// How long the first versions may take once Redis answers; then those who are there are served.
const FIRST_LOAD_LIMIT: Duration = Duration::from_secs(10);

/// The realm of each tenant, and who belongs to it.
pub(crate) type Tenants = BTreeMap<TenantId, (String, Realm)>;

/// Follows the configuration and tells the driver.
pub(crate) struct Follower {
    pool: RedisPool,
    reader: ConfigReader,
    inbox: Sender<Input>,
    readiness: Readiness,
    shutdown: Shutdown,
    tenants: Tenants,
    told: watch::Sender<Tenants>,
    /// AORs whose bindings were read: from then on memory follows the store, by what we write and what other registrars tell.
    loaded: BTreeSet<Aor>,
}

impl Follower {
    pub(crate) fn new(pool: RedisPool, inbox: Sender<Input>, life: &Life) -> Self {
        let reader = ConfigReader::new(pool.clone(), "registrar", life.node().as_str().to_owned());
        Self {
            pool,
            reader,
            inbox,
            readiness: life.readiness("configuration"),
            shutdown: life.shutdown(),
            tenants: Tenants::new(),
            told: watch::Sender::new(Tenants::new()),
            loaded: BTreeSet::new(),
        }
    }

    /// Who is known, as it changes.
    pub(crate) fn tenants(&self) -> watch::Receiver<Tenants> {
        self.told.subscribe()
    }

    /// Until the daemon stops.
    pub(crate) async fn follow(mut self) -> anyhow::Result<()> {
        let mut watch = self.reader.clone().watch();
        let shutdown = self.shutdown.clone();
        tokio::select! {
            () = shutdown.requested() => Ok(()),
            result = self.run(&mut watch) => result,
        }
    }

    async fn run(&mut self, watch: &mut ConfigWatch) -> anyhow::Result<()> {
        let expected = self.tenants_in_store().await?;
        let first = async {
            while !expected.iter().all(|tenant| self.tenants.contains_key(tenant)) {
                let change = watch.next().await;
                self.take(change).await?;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(FIRST_LOAD_LIMIT, first).await {
            Ok(result) => result?,
            Err(_) => log::warn!("some tenants' configuration cannot be read yet; serving the others"),
        }
        self.tell().await?;
        self.readiness.ready();
        loop {
            let change = watch.next().await;
            self.take(change).await?;
            self.tell().await?;
        }
    }

    /// Waits for Redis, saying so.
    async fn tenants_in_store(&self) -> anyhow::Result<BTreeSet<TenantId>> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            match self.reader.tenants().await {
                Ok(tenants) => return Ok(tenants),
                Err(error) => self.readiness.waiting(format!("Redis: {error}")),
            }
            backoff.wait(&self.shutdown).await;
        }
    }

    async fn take(&mut self, change: ConfigChange) -> anyhow::Result<()> {
        match change {
            ConfigChange::Taken(config) => {
                let realm = config.meta.realm.to_ascii_lowercase();
                self.load_locations(&realm, &config).await?;
                let agents = config.agents.values().map(|agent| (agent.phone_user(), None));
                let configured = config.credentials.iter().map(|(user, credential)| {
                    let ha1 = Ha1 { md5: credential.ha1_md5.clone(), sha256: credential.ha1_sha256.clone() };
                    (user.clone(), Some(ha1))
                });
                // Of two with one name the later counts.
                let entry = (realm, Realm { tenant: config.meta.tenant, users: agents.chain(configured).collect() });
                self.tenants.insert(config.meta.tenant, entry);
            }
            ConfigChange::Removed(tenant) => {
                self.tenants.remove(&tenant);
            }
        }
        Ok(())
    }

    async fn tell(&self) -> anyhow::Result<()> {
        self.told.send_replace(self.tenants.clone());
        let realms = self.tenants.values().cloned().collect();
        self.inbox.send(Input::Directory(Directory { realms, loaded: true })).await?;
        Ok(())
    }

    /// Reads the bindings of users that were not there before; without a time limit, since nothing can be said about
    /// them until it is done.
    async fn load_locations(&mut self, realm: &str, config: &CompiledConfig) -> anyhow::Result<()> {
        let agents = config.agents.values().map(AgentConfig::phone_user);
        let new: Vec<Aor> = agents
            .chain(config.credentials.keys().cloned())
            .collect::<BTreeSet<String>>()
            .into_iter()
            .map(|user| Aor { realm: realm.to_owned(), user })
            .filter(|aor| !self.loaded.contains(aor))
            .collect();
        for chunk in new.chunks(LOAD_CHUNK) {
            for (aor, values) in chunk.iter().zip(self.read_chunk(config.meta.tenant, chunk).await) {
                let values: Vec<String> = values.into_values().collect();
                let bindings = read_bindings(&values);
                if !bindings.is_empty() {
                    self.inbox.send(Input::Loaded { aor: aor.clone(), bindings }).await?;
                }
                self.loaded.insert(aor.clone());
            }
        }
        Ok(())
    }

    async fn read_chunk(&self, tenant: TenantId, chunk: &[Aor]) -> Vec<HashMap<String, String>> {
        let mut pipe = redis::pipe();
        for aor in chunk {
            pipe.cmd("HGETALL").arg(keys::location(tenant, &aor.user));
        }
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            match self.pool.run_pipeline("load_locations", Retry::Safe, &pipe).await {
                Ok(values) => return values,
                Err(error) => log::warn!(error:% = error; "cannot read bindings; trying again"),
            }
            backoff.wait(&self.shutdown).await;
        }
    }
}
