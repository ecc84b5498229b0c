//! The thread that starts all children.
//!
//! Children are told to die with their parent (PR_SET_PDEATHSIG), so that a killed test leaves no server behind. The kernel
//! means the parent *thread*, and threads of a runtime come and go; so one thread, which lives as long as the process, is
//! the parent of all.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

type Order = (Command, SyncSender<io::Result<Child>>);

static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();

/// Starts `command` from the spawner thread.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let (answer, answered) = sync_channel(1);
    let gone = || io::Error::other("the spawner thread is gone");
    ORDERS.get_or_init(start).send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

fn start() -> Sender<Order> {
    let (orders, inbox) = channel();
    std::thread::Builder::new().name("spawner".into()).spawn(move || serve(&inbox)).expect("a thread can be started");
    orders
}

fn serve(inbox: &Receiver<Order>) {
    while let Ok((mut command, answer)) = inbox.recv() {
        // Whoever asked waits for the answer, so it is always received.
        answer.send(command.spawn()).ok();
    }
}
