//! Ports nobody else takes between asking and using.
//!
//! Port 0 is better where a server can say what it got. Where it cannot (a child process, a peer's configuration), a port is
//! taken from a block of 100 that this process holds by a locked file, below the kernel's own ephemeral range (32768), so that
//! neither another test process nor an outgoing connection gets it.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// First port of the first block.
const FIRST: u16 = 20_000;
const BLOCK_PORTS: u16 = 100;
const BLOCKS: u16 = 120;

/// The block in use; the file's lock lasts as long as the process.
struct Block {
    _lock: File,
    next: u16,
    end: u16,
}

static BLOCK: Mutex<Option<Block>> = Mutex::new(None);

/// A port that is free for TCP and UDP on every address, and is given to nobody else while this process lives.
///
/// # Panics
/// When all 120 blocks are held by other processes.
#[must_use]
pub fn free_port() -> u16 {
    let mut current = BLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(block) = current.as_mut() {
            while block.next < block.end {
                block.next += 1;
                if is_free(block.next - 1) {
                    return block.next - 1;
                }
            }
        }
        if let Some(used_up) = current.take() {
            // Its ports may still be in use by this process, so its lock is kept for good.
            std::mem::forget(used_up);
        }
        *current = Some(take_block());
    }
}

/// [`free_port`] on 127.0.0.1.
#[must_use]
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

fn is_free(port: u16) -> bool {
    let everywhere = (Ipv4Addr::UNSPECIFIED, port);
    TcpListener::bind(everywhere).is_ok() && UdpSocket::bind(everywhere).is_ok()
}

fn take_block() -> Block {
    let folder = std::env::temp_dir().join("ringdown-test-ports");
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    // Best effort: another user's tests share the folder when it may be shared.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).ok();
    // Each process starts somewhere else, so that few collide.
    let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("the rest of a division by 120 fits");
    for step in 0..BLOCKS {
        let number = (start + step) % BLOCKS;
        if let Some(lock) = lock(&folder.join(number.to_string())) {
            let first = FIRST + number * BLOCK_PORTS;
            return Block { _lock: lock, next: first, end: first + BLOCK_PORTS };
        }
    }
    panic!("all {BLOCKS} blocks of test ports are taken");
}

fn lock(path: &Path) -> Option<File> {
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(path).ok()?;
    file.set_permissions(std::fs::Permissions::from_mode(0o666)).ok();
    file.try_lock().ok().map(|()| file)
}
