//! Each rule of the environment at its border: what is read, what is refused, what is said about it, what is never said.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{About, EXIT_CONFIG, EXIT_USAGE, Fault, Reader, Start, Url, shared, start};

/// A value that would be recognised anywhere it leaked to.
const CANARY: &str = "cAnArY-5f1d";

fn load<T>(pairs: &[(&str, &str)], read: impl FnOnce(&mut Reader) -> Option<T>) -> Result<T, Vec<Fault>> {
    Reader::from_pairs("acd", pairs.iter().copied()).load(read).map_err(|faults| faults.0)
}

/// The names at fault, in order; panics when there is none.
fn faulty<T: std::fmt::Debug>(pairs: &[(&str, &str)], read: impl FnOnce(&mut Reader) -> Option<T>) -> Vec<String> {
    load(pairs, read).unwrap_err().into_iter().map(|fault| fault.name).collect()
}

fn number(env: &mut Reader) -> Option<u16> {
    env.number("RINGDOWN_N", 2..=9_u16).about("n").read()
}

#[test]
fn numbers_are_whole_and_within_their_range() {
    for (text, expected) in [("2", Some(2)), ("9", Some(9)), ("007", Some(7))] {
        assert_eq!(load(&[("RINGDOWN_N", text)], number).ok(), expected, "{text}");
    }
    for text in ["1", "10", "-3", "+3", "3.0", "3 ", " 3", "0x3", "three", "99999999999999999999999", "٣"] {
        assert_eq!(faulty(&[("RINGDOWN_N", text)], number), ["RINGDOWN_N"], "{text}");
    }
}

#[test]
fn empty_is_unset() {
    let defaulted = |env: &mut Reader| env.number("RINGDOWN_N", 2..=9_u16).default(4).read();
    assert_eq!(load(&[("RINGDOWN_N", "")], defaulted), Ok(4));
    assert_eq!(load(&[("RINGDOWN_N", "")], |env| env.number("RINGDOWN_N", 2..=9_u16).optional()), Ok(None));
    assert_eq!(faulty(&[("RINGDOWN_N", "")], number), ["RINGDOWN_N"]);
}

#[test]
fn each_kind_reads_what_it_says() {
    let address: SocketAddr = "[::1]:5060".parse().unwrap();
    assert_eq!(load(&[("RINGDOWN_A", "[::1]:5060")], |env| env.socket_address("RINGDOWN_A").read()), Ok(address));
    let list = load(&[("RINGDOWN_A", "127.0.0.1:1, [::1]:5060")], |env| env.socket_addresses("RINGDOWN_A").read());
    assert_eq!(list, Ok(vec!["127.0.0.1:1".parse().unwrap(), address]));
    let span = load(&[("RINGDOWN_W_MS", "250")], |env| env.duration_ms("RINGDOWN_W_MS", 1..=1_000).read());
    assert_eq!(span, Ok(Duration::from_millis(250)));
    for (text, expected) in [("yes", true), ("on", true), ("1", true), ("off", false), ("false", false)] {
        assert_eq!(load(&[("RINGDOWN_F", text)], |env| env.flag("RINGDOWN_F").read()), Ok(expected));
    }
    let path = load(&[("RINGDOWN_P", "/var/lib/x")], |env| env.path("RINGDOWN_P").read());
    assert_eq!(path, Ok(PathBuf::from("/var/lib/x")));
    let choice = |env: &mut Reader| env.choice("RINGDOWN_C", &[("red", 1), ("green", 2)]).read();
    assert_eq!(load(&[("RINGDOWN_C", "green")], choice), Ok(2));
    assert_eq!(faulty(&[("RINGDOWN_C", "Green")], choice), ["RINGDOWN_C"]);
}

#[test]
fn each_kind_refuses_the_rest() {
    let address = |env: &mut Reader| env.socket_address("RINGDOWN_X").read();
    for text in ["127.0.0.1", "localhost:80", ":80", "127.0.0.1:65536", "::1:80x"] {
        assert_eq!(faulty(&[("RINGDOWN_X", text)], address), ["RINGDOWN_X"], "{text}");
    }
    let many = vec!["127.0.0.1:1"; 65].join(",");
    for text in ["127.0.0.1:1,", ",127.0.0.1:1", &many] {
        assert_eq!(faulty(&[("RINGDOWN_X", text)], |env| env.socket_addresses("RINGDOWN_X").read()), ["RINGDOWN_X"]);
    }
    assert_eq!(faulty(&[("RINGDOWN_X", "etc/x")], |env| env.path("RINGDOWN_X").read()), ["RINGDOWN_X"]);
    assert_eq!(faulty(&[("RINGDOWN_X", "maybe")], |env| env.flag("RINGDOWN_X").read()), ["RINGDOWN_X"]);
    assert_eq!(faulty(&[("RINGDOWN_X", "a\nb")], |env| env.text("RINGDOWN_X").read()), ["RINGDOWN_X"]);
    let long = "x".repeat(4_097);
    assert_eq!(faulty(&[("RINGDOWN_X", &long)], |env| env.text("RINGDOWN_X").read()), ["RINGDOWN_X"]);
}

#[test]
fn urls_are_checked_where_a_client_library_would_only_fail_later() {
    let schemes = &["redis", "postgres", "unix"];
    for text in [
        "redis://127.0.0.1:6379/0",
        "redis://:p@[::1]:6379",
        "postgres://u:p@a:1,b:2/db?x=y",
        "redis://host",
        "unix:///run/redis.sock",
    ] {
        assert!(Url::parse(text, schemes).is_ok(), "{text}");
    }
    for text in [
        "127.0.0.1:6379",
        "http://a",
        "redis://",
        "redis://:6379",
        "redis://a:0",
        "redis://a:65536",
        "redis://a:b",
        "redis://a,",
        "redis://a b",
        "REDIS://a",
        "unix://run/redis.sock",
        "redis://u:p@/0",
    ] {
        assert!(Url::parse(text, schemes).is_err(), "{text}");
    }
}

#[test]
fn where_clients_reach_something_is_a_url_or_a_path() {
    let read = |text: &str| crate::parse::client_url(text, &["ws", "wss"]);
    for good in ["ws://127.0.0.1:8001/ws", "wss://desk.example/ws", "/ws", "/sip/2"] {
        assert_eq!(read(good).as_deref(), Ok(good));
    }
    for bad in ["", "ws", "http://desk.example", "//desk.example/ws", "/a b", "/ws?x=1", "/<script>"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_url_shows_its_place_and_hides_its_password() {
    let url = Url::parse(&format!("postgres://ada:{CANARY}@db:5432/x?password={CANARY}"), &["postgres"]).unwrap();
    assert_eq!(url.to_string(), "postgres://db:5432/x");
    assert!(!format!("{url:?}").contains(CANARY));
    assert!(url.has_password());
    let url = Url::parse("redis://db:6379/1", &["redis"]).unwrap().with_password(&crate::Secret::new("a/b@c:d%é"));
    assert_eq!(url.expose(), "redis://:a%2Fb%40c%3Ad%25%C3%A9@db:6379/1");
    assert_eq!((url.scheme(), url.hosts()), ("redis", "db:6379"));
    let user = Url::parse("postgres://ada@db/x", &["postgres"]).unwrap().with_password(&crate::Secret::new("p"));
    assert_eq!(user.expose(), "postgres://ada:p@db/x");
}

#[test]
fn all_faults_come_together_in_order_and_none_repeats_a_value() {
    let read = |env: &mut Reader| {
        let first = env.number("RINGDOWN_FIRST", 1..=9_u16).read();
        let second = env.url("RINGDOWN_SECOND", &["redis"]).read();
        let third = env.path("RINGDOWN_THIRD").read();
        let fourth = env.secret("RINGDOWN_FOURTH").read();
        let fifth = env.flag("RINGDOWN_FIFTH").read();
        Some((first?, second?, third?, fourth?, fifth?))
    };
    let secret = format!("{CANARY}\u{7}");
    let missing_file = format!("/nowhere/{CANARY}");
    let pairs = [
        ("RINGDOWN_FIRST", CANARY),
        ("RINGDOWN_SECOND", CANARY),
        ("RINGDOWN_SECOND_FILE", missing_file.as_str()),
        ("RINGDOWN_FOURTH", secret.as_str()),
        ("RINGDOWN_FIFTH", CANARY),
        ("RINGDOWN_ACD_UNHEARD", CANARY),
    ];
    let faults = load(&pairs, read).unwrap_err();
    let names: Vec<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
    let expected = ["RINGDOWN_FIRST", "RINGDOWN_SECOND", "RINGDOWN_THIRD", "RINGDOWN_FOURTH", "RINGDOWN_FIFTH"];
    assert_eq!(names[..5], expected);
    assert_eq!(names[5..], ["RINGDOWN_ACD_UNHEARD"]);
    assert!(faults.iter().all(|fault| !fault.to_string().contains(CANARY)), "{faults:?}");
    assert!(faults[0].problem.contains("from 1 to 9"), "what is accepted is said: {}", faults[0].problem);
}

#[test]
fn a_secret_comes_from_its_file_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credential");
    let read = |env: &mut Reader| env.secret("RINGDOWN_S").read();
    let named = [("RINGDOWN_S_FILE", file.to_str().unwrap())];

    std::fs::write(&file, "  swordfish\n").unwrap();
    let secret = load(&named, read).unwrap();
    assert_eq!(secret.expose(), "swordfish");
    assert_eq!(format!("{secret:?}"), "Secret(redacted)");

    for unusable in ["", " \n", &"x".repeat(70_000), "two\nlines"] {
        std::fs::write(&file, unusable).unwrap();
        assert_eq!(faulty(&named, read), ["RINGDOWN_S"]);
    }
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert_eq!(faulty(&named, read), ["RINGDOWN_S"]);
    assert_eq!(faulty(&[("RINGDOWN_S_FILE", folder.path().to_str().unwrap())], read), ["RINGDOWN_S"], "a folder");
    assert_eq!(faulty(&[("RINGDOWN_S_FILE", "/nowhere/at/all")], read), ["RINGDOWN_S"]);
    let twice = [named[0], ("RINGDOWN_S", "other")];
    assert_eq!(faulty(&twice, read), ["RINGDOWN_S"], "two sources are one too many");
}

#[test]
fn what_is_not_set_comes_from_the_credential_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let directory = ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap());
    let read = |env: &mut Reader| env.secret("RINGDOWN_S").optional();
    let value = |pairs: &[(&str, &str)]| load(pairs, read).unwrap().map(|secret| secret.expose().to_owned());
    assert_eq!(value(&[directory]), None, "no such credential");
    std::fs::write(folder.path().join("RINGDOWN_S"), format!("{CANARY}\n")).unwrap();
    std::fs::write(folder.path().join("RINGDOWN_N"), "7").unwrap();
    assert_eq!(value(&[directory]).as_deref(), Some(CANARY));
    assert_eq!(value(&[directory, ("RINGDOWN_S", "said")]).as_deref(), Some("said"), "what is set goes first");
    assert_eq!(
        load(&[directory], |env| env.number("RINGDOWN_N", 1..=9_u16).default(2).read()),
        Ok(2),
        "only what has a FILE"
    );
    std::fs::write(folder.path().join("RINGDOWN_S"), "").unwrap();
    assert_eq!(faulty(&[directory], read), ["RINGDOWN_S"], "an empty one is a fault");
}

#[test]
fn misspelt_names_are_found_and_others_are_left_alone() {
    let read = |env: &mut Reader| env.number("RINGDOWN_WORKERS", 1..=9_u16).default(4).read();
    let problem = |name: &str| load(&[(name, "3")], read).err().map(|faults| faults[0].problem.clone());
    for typo in ["RINGDOWN_WORKER", "RINGDOWN_WROKERS", "RINGDOWN_WORKERSS"] {
        assert_eq!(problem(typo).as_deref(), Some("is not known; did you mean RINGDOWN_WORKERS?"), "{typo}");
    }
    assert_eq!(problem("RINGDOWN_ACD_COLOUR").as_deref(), Some("is not known to acd"));
    // A file shared by all daemons holds variables of the others.
    for foreign in
        ["RINGDOWN_REGISTRAR_SIP_LISTEN", "RINGDOWN_WEB_API_WORKERS", "RINGDOWN_OBJECT_STORE", "OTHER_WORKERS"]
    {
        assert_eq!(problem(foreign), None, "{foreign}");
    }
    // What the unknown name resembles is set, so the unknown one is something else.
    assert!(load(&[("RINGDOWN_WORKERS", "3"), ("RINGDOWN_WORKER", "3")], read).is_ok());
}

#[test]
fn shared_passwords_join_their_urls_once() {
    let url = load(&[("RINGDOWN_REDIS_PASSWORD", "p@ss")], shared::redis_url).unwrap();
    assert_eq!(url.expose(), "redis://:p%40ss@127.0.0.1:6379/0");
    let both = [("RINGDOWN_REDIS_URL", "redis://:x@h/0"), ("RINGDOWN_REDIS_PASSWORD", "p")];
    assert_eq!(faulty(&both, shared::redis_url), ["RINGDOWN_REDIS_PASSWORD"]);
    let url = load(&[("RINGDOWN_POSTGRES_PASSWORD", "p")], shared::postgres_url).unwrap();
    assert_eq!(url.expose(), "postgres://ringdown:p@127.0.0.1:5432/ringdown");
    let socket = [("RINGDOWN_REDIS_URL", "unix:///run/redis.sock"), ("RINGDOWN_REDIS_PASSWORD", "p")];
    assert_eq!(faulty(&socket, shared::redis_url), ["RINGDOWN_REDIS_PASSWORD"], "a path has no place for a password");
}

const ABOUT: About = About { name: "acd", version: "1.2.3", purpose: "routes interactions" };

/// Exit code, standard output, standard error of a start that does not run.
fn exit(arguments: &[&str], pairs: &[(&str, &str)]) -> (u8, String, String) {
    let read = |env: &mut Reader| {
        let redis = shared::redis_url(env);
        let needed = env.number("RINGDOWN_NEEDED", 1..=9_u16).about("How many | of them.").unit("calls").read();
        Some((redis?, needed?))
    };
    let environment = Reader::from_pairs("acd", pairs.iter().copied());
    match start(ABOUT, arguments.iter().map(ToString::to_string), environment, read) {
        Start::Exit { code, stdout, stderr } => (code, stdout, stderr),
        Start::Run(_) => panic!("it would run"),
    }
}

#[test]
fn flags_answer_without_a_sound_environment() {
    for (flag, said) in [
        ("--help", "RINGDOWN_NEEDED"),
        ("--version", "ringdown-acd 1.2.3"),
        ("--env-table", "| `RINGDOWN_NEEDED` |"),
        ("--print-env", "#RINGDOWN_NEEDED="),
    ] {
        let (code, stdout, stderr) = exit(&[flag], &[("RINGDOWN_NEEDED", "bad")]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{flag}");
        assert!(stdout.contains(said), "{flag}: {stdout}");
    }
}

#[test]
fn unknown_flags_and_faulty_environments_have_exit_codes() {
    for arguments in [&["--frobnicate"][..], &["--help", "--version"], &["x"], &[""]] {
        assert_eq!(exit(arguments, &[]).0, EXIT_USAGE, "{arguments:?}");
    }
    for arguments in [&[][..], &["--check-config"]] {
        let (code, stdout, stderr) = exit(arguments, &[]);
        assert_eq!((code, stdout.as_str()), (EXIT_CONFIG, ""));
        assert!(stderr.contains("RINGDOWN_NEEDED: is not set"), "{stderr}");
    }
    let (code, stdout, _) = exit(&["--check-config"], &[("RINGDOWN_NEEDED", "3")]);
    assert_eq!((code, stdout.as_str()), (0, "ringdown-acd: sound\n"));
}

#[test]
fn the_printed_environment_file_is_read_back_as_the_defaults() {
    let (_, file, _) = exit(&["--print-env"], &[]);
    let active: Vec<&str> = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(active.is_empty(), "everything is commented out: {active:?}");
    assert!(file.contains("#RINGDOWN_REDIS_PASSWORD_FILE="), "secrets are recommended as files");
    let lines = file.lines().filter_map(|line| line.strip_prefix("#RINGDOWN_")).filter_map(|line| line.split_once('='));
    let pairs = lines.map(|(name, value)| (format!("RINGDOWN_{name}"), value.to_owned()));
    let url = Reader::from_pairs("acd", pairs).load(shared::redis_url).unwrap();
    assert_eq!(url.expose(), "redis://127.0.0.1:6379/0");
}

#[test]
fn markdown_rows_keep_their_columns() {
    let (_, table, _) = exit(&["--env-table"], &[]);
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(table.lines().all(|line| bars(line) == 5), "{table}");
}

#[test]
fn a_bad_default_is_found_by_the_first_start() {
    assert_eq!(faulty(&[], |env| env.number("RINGDOWN_N", 1..=9_u16).default(10).read()), ["RINGDOWN_N"]);
}
