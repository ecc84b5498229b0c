//! Brings finished recordings from Asterisk's host into the object store.
//!
//! What is to be done is what Asterisk keeps: a file is fetched, put, told (stream `recorded`), and only then removed there. So
//! nothing is remembered, whoever owns the node next goes on, and a file that was put and told twice is the same file.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ringdown_acd_core::conversation::{Conversation, Track};
use ringdown_domain::{AgentId, InteractionId, TenantId, TimestampMs};
use ringdown_events::{RecordedParty, RecordingNote};
use ringdown_object_files::ObjectError;
use ringdown_redis_store::{Retry, StoreError, keys, redis};
use sha2::{Digest, Sha256};

use super::Shared;
use super::ari::AriError;

/// How often Asterisk is asked for finished recordings.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Entries kept in the stream, about: a day of a large contact centre, until web-api has read them.
const TOLD_KEPT: u64 = 100_000;
/// Asterisk's WAV: 44 bytes before the sound, 16 bytes for each of 8,000 samples' milliseconds.
const HEADER_BYTES: u64 = 44;
const BYTES_PER_MS: u64 = 16;

/// The name of a recording: whose it is, and when it began. All that is needed to find its place after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrackName {
    tenant: TenantId,
    interaction: InteractionId,
    number: u32,
    begun_at_ms: TimestampMs,
    party: RecordedParty,
}

impl TrackName {
    /// The name of a track of a conversation.
    pub(crate) const fn of(call: &Conversation, track: &Track) -> Self {
        Self {
            tenant: call.tenant,
            interaction: call.interaction,
            number: track.number,
            begun_at_ms: track.begun_at_ms,
            party: track.party,
        }
    }

    /// Where its file is kept: by day, so that a folder does not grow without end.
    fn object(&self) -> String {
        let day = jiff::Timestamp::from_millisecond(i64::try_from(self.begun_at_ms.0).unwrap_or(0))
            .map_or_else(|_| "undated".to_owned(), |at| at.strftime("%Y/%m/%d").to_string());
        format!("recordings/{}/{day}/{}-{}.wav", self.tenant, self.interaction, self.number)
    }
}

/// `rd-<tenant>-<interaction>-<number>-<ms>-<party>`, the party `c`, `n` or an agent's id.
impl fmt::Display for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rd-{}-{}-{}-{}-", self.tenant, self.interaction, self.number, self.begun_at_ms.0)?;
        match self.party {
            RecordedParty::Customer => f.write_str("c"),
            RecordedParty::Number => f.write_str("n"),
            RecordedParty::Agent(agent) => write!(f, "{agent}"),
        }
    }
}

impl FromStr for TrackName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let piece = |text: &str, from: usize| text.get(from..from + 36).map(str::to_owned).ok_or(());
        let rest = text.strip_prefix("rd-").ok_or(())?;
        let tenant: TenantId = piece(rest, 0)?.parse().map_err(drop)?;
        let interaction: InteractionId = piece(rest, 37)?.parse().map_err(drop)?;
        let mut parts = rest.get(74..).ok_or(())?.splitn(3, '-');
        let number = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        let begun_at_ms = parts.next().and_then(|part| part.parse().ok()).map(TimestampMs).ok_or(())?;
        let party = match parts.next().ok_or(())? {
            "c" => RecordedParty::Customer,
            "n" => RecordedParty::Number,
            agent => RecordedParty::Agent(agent.parse::<AgentId>().map_err(drop)?),
        };
        Ok(Self { tenant, interaction, number, begun_at_ms, party })
    }
}

/// Why a recording stays where it is for now.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Asterisk(#[from] AriError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Redis(#[from] StoreError),
}

/// Collects under one ownership of the node, until its end.
pub(crate) async fn collect(shared: Shared) {
    let shutdown = shared.life.shutdown();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = shared.fence.lost() => return,
            _ = ticks.tick() => {}
        }
        let looked = tokio::select! {
            looked = shared.fence.while_held(look(&shared)) => looked,
            () = shutdown.requested() => return,
        };
        match looked {
            None => return,
            Some(Ok(waiting)) => {
                shared.metrics.recordings_waiting.set(waiting);
            }
            // Asterisk is away: said elsewhere.
            Some(Err(error)) => log::debug!(error:% = error; "finished recordings cannot be listed"),
        }
    }
}

/// Brings what is finished; gives how many could not be brought.
async fn look(shared: &Shared) -> Result<i64, AriError> {
    let mut waiting = 0;
    for name in shared.ari.stored_recordings().await? {
        let Ok(track) = name.parse::<TrackName>() else { continue };
        if shared.ari.is_recording(&name).await? {
            continue;
        }
        match bring(shared, &name, track).await {
            Ok(()) => shared.metrics.recordings.inc(),
            Err(error) => {
                waiting += 1;
                log::warn!(recording = name.as_str(), error:% = error; "a recording could not be kept; it is tried again");
                continue;
            }
        };
    }
    Ok(waiting)
}

async fn bring(shared: &Shared, name: &str, track: TrackName) -> Result<(), CollectError> {
    let Some(file) = shared.ari.recording_file(name).await? else { return Ok(()) };
    let bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
    let duration_ms = bytes.saturating_sub(HEADER_BYTES) / BYTES_PER_MS;
    // Somebody hung up before a word was said.
    if duration_ms > 0 {
        let object = track.object();
        let sha256 = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        shared.files.put(&object, file).await?;
        let note = RecordingNote {
            tenant: track.tenant,
            interaction: track.interaction,
            number: track.number,
            party: track.party,
            begun_at_ms: track.begun_at_ms,
            duration_ms,
            bytes,
            sha256,
            object,
            node: shared.config.node.clone(),
        };
        tell(shared, &note).await?;
    }
    shared.ari.remove_recording(name).await?;
    Ok(())
}

async fn tell(shared: &Shared, note: &RecordingNote) -> Result<(), StoreError> {
    let text = serde_json::to_string(note).expect("a note has string keys only");
    let mut cmd = redis::cmd("XADD");
    cmd.arg(keys::RECORDED).arg("MAXLEN").arg("~").arg(TOLD_KEPT).arg("*").arg(keys::ENTRY_FIELD).arg(text);
    let _id: String = shared.pool.run("recorded", Retry::Safe, &cmd).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_all_that_is_needed_to_keep_a_recording() {
        let parties =
            [RecordedParty::Customer, RecordedParty::Number, RecordedParty::Agent(AgentId::from_parts(3, &[3; 10]))];
        for party in parties {
            let name = TrackName {
                tenant: TenantId::from_parts(1, &[1; 10]),
                interaction: InteractionId::from_parts(2, &[2; 10]),
                number: 7,
                begun_at_ms: TimestampMs(1_796_083_200_000),
                party,
            };
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(name.object().split('/').skip(2).take(3).collect::<Vec<_>>(), ["2026", "12", "01"]);
        }
        for text in ["", "rd-", "message-1", "rd-00000000-0001-7101-8101-010101010101-x-1-2-c"] {
            assert_eq!(text.parse::<TrackName>(), Err(()), "{text}");
        }
    }
}
