//! A phone in a browser: headless Chromium with JsSIP over WSS, short-lived credentials, a call from the queue, tone both ways
//! through rtpengine, hang-up from either side, and a registrar that is killed in mid-call.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ringdown_suites::call_centre::{CARRIER, CallCentre, PATIENCE, Wishes, text};
use ringdown_suites::phone::{Manner, Phone, Seen};
use ringdown_suites::voice::wav;
use ringdown_test_support::{Folder, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const BROWSER_HZ: f64 = 600.0;
const CALLER_HZ: f64 = 1_000.0;

/// A browser that is a phone.
struct Browser {
    _child: Child,
    commands: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    _folder: Folder,
}

impl Browser {
    async fn open() -> Self {
        let folder = Folder::new("browser").unwrap();
        let microphone = folder.join("microphone.wav");
        std::fs::write(&microphone, wav(BROWSER_HZ)).unwrap();
        let installed = PathBuf::from(
            std::env::var("RINGDOWN_SOFTPHONE").unwrap_or_else(|_| "/var/cache/ringdown/tools/softphone".to_owned()),
        );
        let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("softphone");
        // Modules are looked for beside the program that asks for them.
        for name in ["drive.mjs", "page.js", "package.json"] {
            std::fs::copy(sources.join(name), folder.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(installed.join("node_modules"), folder.join("node_modules")).unwrap();
        let mut child = Command::new("node")
            .arg(folder.join("drive.mjs"))
            .arg(&microphone)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut browser = Self { _child: child, commands, events, _folder: folder };
        browser.expect("ready").await;
        browser
    }

    async fn tell(&mut self, command: Value) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    /// The next event of this kind; others are passed over.
    async fn expect(&mut self, event: &str) -> Value {
        let wait = async {
            loop {
                let line = self.events.next_line().await.unwrap().expect("the browser runs");
                let said: Value = serde_json::from_str(&line).unwrap();
                if said["event"] == event {
                    return said;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("the browser never said {event}"))
    }

    /// Registers with credentials of the agent's.
    async fn register(&mut self, centre: &CallCentre, agent: &str) {
        let path = centre.of_tenant(&format!("agents/{agent}/phone-credentials"));
        let given = centre.post(&path, json!({})).await.unwrap();
        let url = given["websocket_urls"][0].clone();
        assert_eq!(url, format!("wss://{}", centre.web_phones));
        self.tell(json!({ "command": "start", "url": url, "user": given["user"], "realm": given["realm"],
            "password": given["password"] }))
            .await;
        self.expect("registered").await;
    }

    async fn hears(&mut self, hz: f64) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.tell(json!({ "command": "heard" })).await;
            let heard = self.expect("heard").await["hz"].as_f64().unwrap();
            if (heard - hz).abs() < 15.0 {
                return true;
            }
        }
        false
    }

    async fn packets(&mut self) -> u64 {
        self.tell(json!({ "command": "packets" })).await;
        self.expect("packets").await["count"].as_u64().unwrap()
    }
}

async fn talking(centre: &CallCentre, browser: &mut Browser) -> Phone {
    let mut caller = Phone::new(CARRIER, "4930555", CALLER_HZ, Manner::Answer).await.unwrap();
    caller.call("100", centre.trunk).await.unwrap();
    assert_eq!(caller.next(PATIENCE).await.unwrap(), Seen::Talking);
    browser.expect("talking").await;
    assert!(caller.hears(BROWSER_HZ, PATIENCE).await, "the caller hears the browser");
    assert!(browser.hears(CALLER_HZ).await, "the browser hears the caller");
    caller
}

#[tokio::test]
async fn a_browser_takes_queued_calls_and_the_registrar_may_die_in_between() {
    let mut centre = CallCentre::open(Wishes { browsers: true, ..Wishes::default() }).await.unwrap();
    // An agent without a desk phone.
    let agent = json!({ "name": "ada", "skills": { "English": 5 } });
    let agent = text(&centre.post(&centre.of_tenant("agents"), agent).await.unwrap(), "id").unwrap();
    let mut browser = Browser::open().await;
    browser.register(&centre, &agent).await;
    centre.set_status(&agent, "ready").await.unwrap();

    // The browser hangs up.
    let mut caller = talking(&centre, &mut browser).await;
    browser.tell(json!({ "command": "hang_up" })).await;
    assert_eq!(caller.next(PATIENCE).await.unwrap(), Seen::HungUp);

    // The registrar dies in mid-call: the sound goes on, the browser comes back, and the caller's good-bye reaches it.
    let caller = talking(&centre, &mut browser).await;
    let before = browser.packets().await;
    let killed = Instant::now();
    centre.registrar_daemon.kill9().unwrap();
    browser.expect("disconnected").await;
    centre.registrar_daemon.restart().unwrap();
    browser.expect("registered").await;
    println!("softphone_registered_again {} ms", killed.elapsed().as_millis());
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    let more = wait_until(PATIENCE, "the sound goes on", async || {
        let now = browser.packets().await;
        (now > before + 50).then_some(now - before)
    })
    .await;
    println!("softphone_packets_meanwhile {more} packets");
    caller.hang_up().await.unwrap();
    browser.expect("ended").await;
}
