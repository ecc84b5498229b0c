//! Where Redis is: at one address, or where its Sentinels say that the master is.
//!
//! ```text
//! redis+sentinel://:password@10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379/ringdown/0
//!                            the Sentinels (port 26379 unless said)       name    database
//! ```
//!
//! One task asks each Sentinel four times a second and says where the master is; everything else reads what it said last. One
//! that is away holds up nobody's word but its own.
//! What the newest election says holds, and only when more than half of the Sentinels answer: who is cut off from them does
//! not find a master that is cut off, too. When fewer answer, the last one holds: Sentinels that are away move nothing.
//!
//! Never: writes, elections. A master that is gone is not asked whether it is; connections to it are given up when another
//! is named.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::StoreMetrics;
use crate::error::RedisUrlError;

const SCHEME: &str = "redis+sentinel://";
const SENTINEL_PORT: u16 = 26_379;
/// What the master is called when the URL does not say.
const DEFAULT_NAME: &str = "ringdown";
/// How often the Sentinels are asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Longest wait for one Sentinel's answer, connecting included; after it, its last word does not count any more.
const ASK_LIMIT: Duration = Duration::from_millis(400);
/// Most Sentinels.
const SENTINELS_MAX: usize = 15;

/// What a URL says.
#[derive(Clone)]
pub(crate) enum Address {
    /// There, always.
    Fixed(ConnectionInfo),
    /// Where these say.
    Elected {
        sentinels: Vec<ConnectionInfo>,
        name: String,
        /// How to connect to the master; its address is only known later.
        master: ConnectionInfo,
    },
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let Some(rest) = url.strip_prefix(SCHEME) else {
            return url.into_connection_info().map(Self::Fixed).map_err(|_| RedisUrlError);
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) =
            authority.rsplit_once('@').map_or((String::new(), authority), |(user, hosts)| (format!("{user}@"), hosts));
        let (name, database) = path.split_once('/').unwrap_or((path, "0"));
        let at = |host: &str, database: &str| {
            format!("redis://{user}{host}/{database}").into_connection_info().map_err(|_| RedisUrlError)
        };
        let sentinels: Vec<_> = hosts.split(',').map(|host| at(&with_port(host), "0")).collect::<Result<_, _>>()?;
        if sentinels.len() > SENTINELS_MAX || name.contains(['?', '#']) {
            return Err(RedisUrlError);
        }
        let name = if name.is_empty() { DEFAULT_NAME } else { name }.to_owned();
        Ok(Self::Elected { sentinels, name, master: at("unknown", database)? })
    }

    /// Begins to look. Within a tokio runtime.
    pub(crate) fn watch(self, metrics: StoreMetrics) -> Place {
        match self {
            Self::Fixed(info) => Place { master: watch::Sender::new(Some(info)).subscribe(), asking: None },
            Self::Elected { sentinels, name, master } => {
                let (sender, receiver) = watch::channel(None);
                let sentinels = sentinels.into_iter().map(|info| Sentinel { info, connection: None }).collect();
                let asking = tokio::spawn(ask_on(sentinels, name, master, sender, metrics));
                Place { master: receiver, asking: Some(Arc::new(Asking(asking))) }
            }
        }
    }
}

/// Addresses only.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(info) => write!(f, "{}", info.addr()),
            Self::Elected { sentinels, name, .. } => {
                let list: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
                write!(f, "{name} of {}", list.join(","))
            }
        }
    }
}

fn with_port(host: &str) -> String {
    let after_bracket = host.rfind(']').map_or(0, |at| at + 1);
    if host[after_bracket..].contains(':') { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") }
}

/// Where Redis is now. Cloning shares the task that looks; it ends with the last clone.
#[derive(Clone)]
pub(crate) struct Place {
    master: watch::Receiver<Option<ConnectionInfo>>,
    asking: Option<Arc<Asking>>,
}

/// The task that asks. Aborting it half-way loses nothing: it only reads.
struct Asking(JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Place {
    /// Whether it can change.
    pub(crate) const fn can_move(&self) -> bool {
        self.asking.is_some()
    }

    /// A client for where Redis is now; waits until that is known, for the caller's own limit.
    pub(crate) async fn client(&self) -> Result<redis::Client, RedisError> {
        let mut master = self.master.clone();
        let known = match master.wait_for(Option::is_some).await {
            Ok(known) => known.clone(),
            // The one who says it is gone: with a fixed address it has said all, else the pool is being dropped.
            Err(_) => self.master.borrow().clone(),
        };
        let Some(info) = known else {
            return Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::NotConnected)));
        };
        redis::Client::open(info)
    }

    /// Whether a connection to `address` is still one to where Redis is.
    pub(crate) fn is(&self, address: &ConnectionAddr) -> bool {
        self.master.borrow().as_ref().is_some_and(|info| info.addr() == address)
    }

    /// Returns when Redis is elsewhere than at `address`; never where it cannot move.
    pub(crate) async fn left(&self, address: &ConnectionAddr) {
        if !self.can_move() {
            return std::future::pending().await;
        }
        let elsewhere = |info: &Option<ConnectionInfo>| info.as_ref().is_some_and(|info| info.addr() != address);
        if self.master.clone().wait_for(elsewhere).await.is_err() {
            std::future::pending().await
        }
    }
}

struct Sentinel {
    info: ConnectionInfo,
    connection: Option<MultiplexedConnection>,
}

/// One Sentinel's word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    /// Grows with each election.
    epoch: u64,
    host: String,
    port: u16,
}

async fn ask_on(
    sentinels: Vec<Sentinel>,
    name: String,
    master: ConnectionInfo,
    sender: watch::Sender<Option<ConnectionInfo>>,
    metrics: StoreMetrics,
) {
    let mut words = vec![None; sentinels.len()];
    let mut asked: FuturesUnordered<_> =
        sentinels.into_iter().enumerate().map(|(number, one)| turn(number, one, &name, Duration::ZERO)).collect();
    while let Some((number, one, word)) = asked.next().await {
        metrics.sentinel(word.is_some());
        words[number] = word;
        asked.push(turn(number, one, &name, ASK_EVERY));
        let Some(word) = believed(&words) else { continue };
        let address = ConnectionAddr::Tcp(word.host.clone(), word.port);
        sender.send_if_modified(|known| {
            let moved = known.as_ref().is_none_or(|info| *info.addr() != address);
            if moved {
                metrics.moved();
                log::info!(address:% = address; "Redis' master is there");
                *known = Some(master.clone().set_addr(address));
            }
            moved
        });
    }
}

/// Asks one of them after a pause.
async fn turn(number: usize, mut one: Sentinel, name: &str, pause: Duration) -> (usize, Sentinel, Option<Word>) {
    tokio::time::sleep(pause).await;
    let word = one.ask(name).await;
    (number, one, word)
}

/// The newest word, when more than half have one.
fn believed(words: &[Option<Word>]) -> Option<&Word> {
    let said = words.iter().flatten();
    if said.clone().count() * 2 > words.len() { said.max() } else { None }
}

impl Sentinel {
    async fn ask(&mut self, name: &str) -> Option<Word> {
        let answer = tokio::time::timeout(ASK_LIMIT, self.answer(name)).await;
        match answer {
            Ok(Ok(word)) => return word,
            Ok(Err(error)) => log::debug!(sentinel:% = self.info.addr(), error:% = error; "a Sentinel does not answer"),
            Err(_) => log::debug!(sentinel:% = self.info.addr(); "a Sentinel does not answer in time"),
        }
        self.connection = None;
        None
    }

    async fn answer(&mut self, name: &str) -> Result<Option<Word>, RedisError> {
        if self.connection.is_none() {
            let client = redis::Client::open(self.info.clone())?;
            self.connection = Some(client.get_multiplexed_async_connection().await?);
        }
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let facts: Vec<String> = redis::cmd("SENTINEL").arg("MASTER").arg(name).query_async(connection).await?;
        Ok(word(&facts))
    }
}

/// From names and values in turn.
fn word(facts: &[String]) -> Option<Word> {
    let fact = |name: &str| facts.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
    Some(Word {
        epoch: fact("config-epoch")?.parse().ok()?,
        host: fact("ip")?.to_owned(),
        port: fact("port")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_sentinels_or_one_address() {
        let described = |url: &str| format!("{:?}", Address::parse(url).unwrap());
        assert_eq!(described("redis://:secret@10.0.0.1:6379/0"), "10.0.0.1:6379");
        assert_eq!(
            described("redis+sentinel://:secret@10.0.0.1,10.0.0.2:26380,[::1]/acd/3"),
            "acd of 10.0.0.1:26379,10.0.0.2:26380,::1:26379"
        );
        let Address::Elected { sentinels, name, master } =
            Address::parse("redis+sentinel://:p%40ss@one,two,three").unwrap()
        else {
            panic!("Sentinels");
        };
        assert_eq!((sentinels.len(), name.as_str(), master.redis_settings().db()), (3, "ringdown", 0));
        assert_eq!(
            (sentinels[0].redis_settings().password(), master.redis_settings().password()),
            (Some("p@ss"), Some("p@ss"))
        );
        for wrong in ["redis+sentinel://", "redis+sentinel://one/name/x", "redis+sentinel://one,,two", "http://one"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_newest_word_of_more_than_half_holds() {
        let said = |epoch: u64, host: &str| Some(Word { epoch, host: host.into(), port: 6379 });
        assert_eq!(believed(&[said(1, "old"), None, said(2, "new")]), said(2, "new").as_ref());
        assert_eq!(believed(&[said(2, "new"), None, None]), None, "one of three may be cut off, or we are");
        assert_eq!(believed(&[None]), None);
        let facts: Vec<String> =
            ["name", "ringdown", "ip", "10.0.0.2", "port", "6379", "config-epoch", "7"].map(str::to_owned).into();
        assert_eq!(word(&facts), said(7, "10.0.0.2"));
        assert_eq!(word(&facts[..6]), None);
    }
}
