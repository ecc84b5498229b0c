//! `appliance-servers`: NATS and rtpengine as hosts of their own, made by their first boot from variables only.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::{self, bundle};
use ringdown_appliance::fleet::{Fleet, Host, checkout, wait_for};

const INSTALL_LIMIT: Duration = Duration::from_secs(200);
const LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
const INSTALLER: &str = "/srv/bundle/first_boot_installer";
const SERVERS: [u8; 2] = [61, 62];

fn address(number: u8) -> String {
    format!("10.77.0.{number}")
}

/// Both hosts, which share their secrets; and the password of NATS.
fn servers(fleet: &Fleet) -> anyhow::Result<(Vec<Host>, String)> {
    let secrets = fleet.folder("secrets")?;
    let make = checkout().join("provisioning/ansible/roles/base/files/make_secrets");
    let made = std::process::Command::new(make).arg(&secrets).args(["-", "NATS_PASSWORD"]).output()?;
    ensure!(made.status.success(), "making the secret that hosts share");
    let members = format!("RINGDOWN_NATS_MEMBERS={}", SERVERS.map(address).join(","));
    let mut hosts = Vec::new();
    for number in SERVERS {
        let host = fleet.host(&format!("server{number}")).number(number);
        let host = host.bind_read_only(bundle()?, bundle::INSIDE).bind_read_only(&secrets, "/srv/secrets").boot()?;
        host.wait_running(Duration::from_secs(60))?;
        hosts.push(host);
    }
    for host in &hosts {
        let words = [
            "env",
            "RINGDOWN_COMPONENTS=nats,rtpengine",
            "RINGDOWN_PEERS=10.77.0.1,10.77.0.61,10.77.0.62",
            "INSTALL_RINGDOWN_SECRETS=/srv/secrets",
            &members,
            INSTALLER,
        ];
        let ran = host.run_for(INSTALL_LIMIT, &words)?;
        ensure!(ran.code() == 0, "installing {}: {}", host.name(), ran.said());
    }
    let password = std::fs::read_to_string(secrets.join("NATS_PASSWORD")).context("reading the password")?;
    Ok((hosts, password.trim().to_owned()))
}

#[test]
fn servers_of_the_inside_are_hosts_of_their_own() -> anyhow::Result<()> {
    bundle()?;
    let fleet = Fleet::new()?;
    let (hosts, password) = servers(&fleet)?;
    for host in &hosts {
        let status = host.run(&["ringdown", "status"])?;
        ensure!(status.code() == 0 && status.stdout.contains("nats"), "{}", status.said());
        host.no_unit_failed()?;
        for unit in ["nats-server", "rtpengine-daemon"] {
            assert_eq!(host.sh(&format!("systemctl is-enabled {unit} || true"))?.trim(), "masked");
        }
    }
    let [first, second] = &hosts[..] else { anyhow::bail!("two hosts") };
    fleet.in_network(move || messages_cross(&password))?.join().map_err(|_| anyhow::anyhow!("it panicked"))???;
    let relay: Ipv4Addr = address(SERVERS[0]).parse()?;
    fleet.in_network(move || media_is_relayed(relay))?.join().map_err(|_| anyhow::anyhow!("it panicked"))???;
    a_second_run_changes_nothing(first)?;
    what_hangs_is_not_ready(second)?;
    fleet.passed();
    Ok(())
}

/// A client of NATS' text protocol.
struct Nats {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Nats {
    fn connect(number: u8, password: &str) -> anyhow::Result<Self> {
        let at = SocketAddr::new(address(number).parse()?, 4222);
        let writer = TcpStream::connect_timeout(&at, ANSWER_LIMIT).context("connecting to NATS")?;
        writer.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut nats = Self { reader: BufReader::new(writer.try_clone()?), writer };
        let info = nats.line()?;
        ensure!(info.starts_with("INFO "), "NATS says {info}");
        nats.say(&format!(r#"CONNECT {{"verbose":false,"user":"ringdown","pass":"{password}"}}"#))?;
        Ok(nats)
    }

    fn say(&mut self, line: &str) -> anyhow::Result<()> {
        self.writer.write_all(format!("{line}\r\n").as_bytes()).context("telling NATS")
    }

    /// A line that is no question whether we are still there.
    fn line(&mut self) -> anyhow::Result<String> {
        loop {
            let mut line = String::new();
            ensure!(self.reader.read_line(&mut line).context("reading from NATS")? > 0, "NATS hung up");
            match line.trim_end() {
                "PING" => self.say("PONG")?,
                other if other.starts_with("INFO ") && self.reader.get_ref().peer_addr().is_err() => {}
                other => return Ok(other.to_owned()),
            }
        }
    }

    /// Everything said before has arrived.
    fn settled(&mut self) -> anyhow::Result<()> {
        self.say("PING")?;
        loop {
            let line = self.line()?;
            match line.split(' ').next() {
                Some("PONG") => return Ok(()),
                // Of a member that came later.
                Some("INFO") => {}
                _ => anyhow::bail!("NATS says {line}"),
            }
        }
    }
}

/// What is said at one host is heard at the other; not without the password.
fn messages_cross(password: &str) -> anyhow::Result<()> {
    let mut listener = Nats::connect(SERVERS[1], password)?;
    listener.say("SUB care.question 1")?;
    listener.settled()?;
    let mut speaker = Nats::connect(SERVERS[0], password)?;
    // The subscription travels to the other member after it was taken.
    let heard = wait_for(LIMIT, "a message crosses", || {
        speaker.say("PUB care.question 5\r\nhello").ok()?;
        speaker.settled().ok()?;
        listener.line().ok().filter(|line| line.starts_with("MSG "))
    })?;
    assert_eq!(heard, "MSG care.question 1 5");
    assert_eq!(listener.line()?, "hello");
    let mut stranger = Nats::connect(SERVERS[0], "guessed")?;
    let refused = stranger.settled().expect_err("a wrong password is refused").to_string();
    assert!(refused.contains("Authorization Violation"), "{refused}");
    Ok(())
}

/// One question of rtpengine's control protocol: a cookie, and a dictionary in bencode.
fn ask(relay: Ipv4Addr, cookie: &str, pairs: &[(&str, &str)]) -> anyhow::Result<String> {
    let text = |text: &str| format!("{}:{text}", text.len());
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let body: String = sorted.iter().map(|(name, value)| text(name) + &text(value)).collect();
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    socket.send_to(format!("{cookie} d{body}e").as_bytes(), (relay, 22_222))?;
    let mut answer = [0; 4096];
    let (length, _) = socket.recv_from(&mut answer).context("rtpengine does not answer")?;
    Ok(String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned())
}

fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.77.0.1\r\ns=-\r\nc=IN IP4 10.77.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    )
}

/// The port of the media line of an answer.
fn media_port(answer: &str) -> anyhow::Result<u16> {
    let (_, rest) = answer.split_once("m=audio ").with_context(|| format!("no media in {answer}"))?;
    rest.split(' ').next().unwrap_or_default().parse().context("reading the media's port")
}

/// Packets of two phones reach each other through the relay, from the addresses that it told them.
fn media_is_relayed(relay: Ipv4Addr) -> anyhow::Result<()> {
    let phones = [UdpSocket::bind("10.77.0.1:0")?, UdpSocket::bind("10.77.0.1:0")?];
    for phone in &phones {
        phone.set_read_timeout(Some(ANSWER_LIMIT))?;
    }
    let (caller, agent) = (sdp(phones[0].local_addr()?.port()), sdp(phones[1].local_addr()?.port()));
    let offered =
        ask(relay, "1", &[("command", "offer"), ("call-id", "one"), ("from-tag", "caller"), ("sdp", &caller)])?;
    ensure!(offered.contains("6:result2:ok"), "{offered}");
    let answered = ask(
        relay,
        "2",
        &[("command", "answer"), ("call-id", "one"), ("from-tag", "caller"), ("to-tag", "agent"), ("sdp", &agent)],
    )?;
    ensure!(answered.contains("6:result2:ok"), "{answered}");
    // The agent is told where the caller's media is to be sent, and the other way round.
    let (to_caller, to_agent) = (media_port(&offered)?, media_port(&answered)?);
    assert!([to_caller, to_agent].iter().all(|port| (35_000..45_000).contains(port)), "{to_caller} {to_agent}");
    let packet = |sequence: u8| {
        let mut bytes = vec![0x80, 0x00, 0, sequence, 0, 0, 0, sequence, 0x12, 0x34, 0x56, 0x78];
        bytes.extend([0xff; 160]);
        bytes
    };
    for (from, to, port) in [(0, 1, to_agent), (1, 0, to_caller)] {
        let mut heard = [0; 2048];
        phones[from].send_to(&packet(1), (relay, port))?;
        let (length, source) = phones[to].recv_from(&mut heard).context("no media came through")?;
        assert_eq!((length, source.ip()), (172, relay.into()));
    }
    let deleted = ask(relay, "3", &[("command", "delete"), ("call-id", "one"), ("from-tag", "caller")])?;
    ensure!(deleted.contains("6:result2:ok"), "{deleted}");
    Ok(())
}

fn a_second_run_changes_nothing(host: &Host) -> anyhow::Result<()> {
    let processes = || ["nats", "rtpengine"].map(|name| host.main_pid(&format!("ringdown-{name}")).ok());
    let before = processes();
    let words = ["env", "INSTALL_RINGDOWN_SECRETS=/srv/secrets", INSTALLER];
    let again = host.run_for(INSTALL_LIMIT, &words)?;
    ensure!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());
    assert_eq!(processes(), before);
    Ok(())
}

/// A server that is there and does nothing is told, and is well again by itself when it goes on.
fn what_hangs_is_not_ready(host: &Host) -> anyhow::Result<()> {
    for unit in ["ringdown-nats", "ringdown-rtpengine"] {
        let process = host.main_pid(unit)?;
        host.sh(&format!("kill -STOP {process}"))?;
        let status = host.run(&["ringdown", "status"])?;
        assert!(status.code() == 1 && status.stdout.contains("does not answer"), "{unit}: {}", status.said());
        host.sh(&format!("kill -CONT {process}"))?;
        wait_for(LIMIT, &format!("{unit} is ready again"), || {
            host.run(&["ringdown", "status"]).ok().filter(|ran| ran.code() == 0)
        })?;
    }
    Ok(())
}
