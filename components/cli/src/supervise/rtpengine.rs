//! The relay between browsers' WebRTC and Asterisk's RTP, in user space.

use anyhow::Context;

use crate::installation::{Installation, PortName, make_private_folder, write_private};
use crate::output;

use super::child::{Child, Stage};
use super::find_program;

/// Ports for media, two per stream: above Asterisk's blocks, below the kernel's own range for outgoing connections. One that is
/// taken is passed over.
const FIRST_PORT: u16 = 31_000;
const LAST_PORT: u16 = 32_700;

/// Describes it; none where it is not installed: desk phones work without it, browsers' phones do not.
pub(super) fn prepare(installation: &Installation) -> anyhow::Result<Option<Child>> {
    let Ok(program) = find_program("rtpengine", "rtpengine-daemon") else {
        output::say("rtpengine is not installed (Debian: rtpengine-daemon); phones in browsers will have no sound");
        return Ok(None);
    };
    let folder = installation.join("rtpengine");
    make_private_folder(&folder)?;
    // The packaged file opens fixed ports: one of our own takes its place.
    let text = format!(
        "# Written by `ringdown up`; changes are overwritten.\n[rtpengine]\ntable = -1\ninterface = {address}\nlisten-ng = {ng}\n\
         port-min = {FIRST_PORT}\nport-max = {LAST_PORT}\ntimeout = 60\nsilent-timeout = 3600\ndelete-delay = 0\ntos = 184\n\
         # Warnings and worse: level 6 is a line per port.\nlog-level = 4\nlog-stderr = true\nforeground = true\n",
        address = installation.address(),
        ng = installation.ports().loopback(PortName::Rtpengine),
    );
    let file = folder.join("rtpengine.conf");
    write_private(&file, text.as_bytes()).context("rtpengine's configuration")?;
    let argument = format!("--config-file={}", file.display());
    Ok(Some(Child::new("rtpengine", Stage::Media, program).arg(argument)))
}
