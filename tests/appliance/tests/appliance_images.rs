//! `appliance-images`: what images are made of, and that they run confined. Its long form runs the quadlets on a host.

#[path = "appliance_images/long.rs"]
mod long;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use ringdown_appliance::containers::Containers;
use ringdown_appliance::fleet::{Fleet, Ran, cache, checkout, run, wait_for};
use ringdown_appliance::packages::{build, here};

/// Every image, with its user; the daemons' ports of health.
const IMAGES: [(&str, &str); 8] = [
    ("web-api", "10001"),
    ("acd", "10002"),
    ("notifier", "10003"),
    ("registrar", "10004"),
    ("provisioner", "10005"),
    ("asterisk", "10005"),
    ("redis", "10006"),
    ("postgresql", "10007"),
];
const PORTS: [(&str, u16); 5] =
    [("web-api", 8000), ("notifier", 8001), ("acd", 8002), ("registrar", 8003), ("provisioner", 8004)];
const READY_LIMIT: Duration = Duration::from_secs(90);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn an_image_has_the_same_digest_when_it_is_built_twice() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--only", "ringdown-registrar,ringdown-redis", "oci"];
    let built = ["one", "two"].map(|name| folder.path().join(name));
    for out in &built {
        build(&checkout(), out, &arguments).unwrap();
    }
    for file in ["DIGESTS", "ringdown-registrar.tar", "ringdown-redis.tar", "SHA256SUMS"] {
        let [one, two] = built.each_ref().map(|out| std::fs::read(out.join("oci").join(file)).unwrap());
        assert!(one == two, "{file} is another when it is built again");
    }
    let megabytes = std::fs::metadata(built[0].join("oci/ringdown-registrar.tar")).unwrap().len() / 1_000_000;
    println!("image_registrar {megabytes} mb");
    assert!(megabytes < 20, "only the program and its libraries are in it");
}

#[test]
fn the_composition_runs_confined() {
    let fleet = Fleet::new().unwrap();
    let containers = Containers::new(&fleet).unwrap();
    let built = fleet.folder("built").unwrap();
    build(&checkout(), &built, &["oci"]).unwrap();
    let images = built.join("oci");
    assert_signed(&images).unwrap();
    for (name, uid) in IMAGES {
        let file = format!("ringdown-{name}.tar");
        containers.podman(&images, &["load", "--quiet", "--input", &file]).unwrap().success().unwrap();
        assert_labelled(&containers, name, uid).unwrap();
        assert_listed(&images, name).unwrap();
    }
    here(&[images.join("compose_prepare").to_str().unwrap()]).unwrap().success().unwrap();
    let runs = composed(&containers, &images).unwrap();
    assert_eq!(runs.len(), IMAGES.len(), "a container each: {runs:?}");

    // Redis last: until then a daemon says what it waits for.
    for (name, arguments) in runs.iter().filter(|(name, _)| name != "redis") {
        start(&containers, &images, name, arguments).unwrap();
    }
    let waits = wait_for(READY_LIMIT, "the ACD answers", || {
        let said = health(&fleet, 8002);
        said.contains("redis").then_some(said)
    });
    assert!(waits.unwrap().contains("503"), "it is not ready without Redis");
    let (name, arguments) = runs.iter().find(|(name, _)| name == "redis").unwrap();
    let began = Instant::now();
    start(&containers, &images, name, arguments).unwrap();
    for (name, port) in PORTS {
        wait_for(READY_LIMIT, name, || health(&fleet, port).starts_with("HTTP/1.1 200").then_some(()))
            .with_context(|| format!("{}\n{}", health(&fleet, port), containers.log(name).unwrap_or_default()))
            .unwrap();
    }
    wait_for(READY_LIMIT, "Asterisk runs and reaches the ACD", || {
        containers.log("acd").unwrap_or_default().contains("Asterisk is connected").then_some(())
    })
    .unwrap();
    println!("images_ready {} s", began.elapsed().as_secs());
    the_first_administrator_logs_in(&fleet, &containers, &images).unwrap();
    for (name, uid) in IMAGES {
        assert_confined(&containers, name, uid).unwrap();
    }
    // There is nothing in it but the program: no shell to be had.
    let image = format!("localhost/ringdown-acd:{}", env!("CARGO_PKG_VERSION"));
    let shell = ["run", "--rm", "--network=host", "--entrypoint", "/bin/sh", &image, "-c", ":"];
    let ran = containers.podman(&images, &shell).unwrap();
    assert!(!ran.status.success() && ran.said().contains("no such file"), "{}", ran.said());
    fleet.passed();
}

#[test]
fn quadlets_become_units() {
    let mut tool = Command::new(checkout().join("tests/appliance/quadlet_tool"));
    tool.arg(cache().join("tools/quadlet"));
    let tool = run(tool, None, COMMAND_LIMIT).unwrap().success().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let quadlets: Vec<_> = IMAGES.iter().filter(|(name, _)| !["redis", "postgresql"].contains(name)).collect();
    for (name, _) in &quadlets {
        let file = format!("ringdown-{name}.container");
        std::fs::copy(checkout().join("packaging").join(name).join(&file), folder.path().join(&file)).unwrap();
    }
    let units = generate(tool.trim(), folder.path()).unwrap().success().unwrap();
    for (name, uid) in &quadlets {
        let unit = units.split("\n---").find(|unit| unit.contains(&format!("ringdown-{name}.service---"))).unwrap();
        let run = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        for word in
            ["--read-only ", "--cap-drop all", "--security-opt=no-new-privileges", "--network host", "--pull never"]
        {
            assert!(run.contains(word), "{name}: no {word} in {run}");
        }
        if *name != "asterisk" {
            assert!(unit.contains("\nType=notify"), "{name} is started when it says so");
            assert!(run.contains(&format!("--env-file /etc/ringdown/{name}.env")), "the packages' own file: {run}");
            assert!(unit.contains(&format!("LoadCredential=RINGDOWN:/etc/ringdown/credentials/{name}")));
            assert!(unit.contains(&format!("install -o {uid} ")), "its user may read them");
        }
    }
    // The generator does look.
    let file = folder.path().join("ringdown-acd.container");
    let wrong = std::fs::read_to_string(&file).unwrap().replace("ReadOnly=", "ReadOnyl=");
    std::fs::write(&file, wrong).unwrap();
    let ran = generate(tool.trim(), folder.path()).unwrap();
    assert!(!ran.status.success() && ran.said().contains("ReadOnyl"), "{}", ran.said());
}

fn generate(tool: &str, folder: &Path) -> anyhow::Result<Ran> {
    let mut command = Command::new(tool);
    command.arg("--dryrun").env("QUADLET_UNIT_DIRS", folder);
    run(command, None, COMMAND_LIMIT)
}

fn health(fleet: &Fleet, port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/readyz");
    let asked = fleet.run_outside(Duration::from_secs(5), &["curl", "-s", "-i", "--max-time", "3", &url]);
    asked.map_or_else(|error| error.to_string(), |ran| ran.stdout)
}

/// Services of the composition with the arguments podman-compose starts them by. What Debian 12's (1.0.3) adds wrongly, a network
/// beside the host's, is left out; newer ones don't.
fn composed(containers: &Containers, folder: &Path) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let mut command = containers.command("podman-compose", folder);
    command.args(["--dry-run", "-p", "ringdown", "-f", "compose.yaml", "up", "-d"]);
    let said = run(command, None, COMMAND_LIMIT)?.said();
    let lines = said.lines().filter_map(|line| line.strip_prefix("podman run "));
    let mut found = Vec::new();
    for line in lines {
        let mut words = line.split(' ').map(str::to_owned);
        let mut arguments = vec!["run".to_owned()];
        while let Some(word) = words.next() {
            match word.as_str() {
                "--net" | "--network-alias" => drop(words.next()),
                _ => arguments.push(word),
            }
        }
        let label = "com.docker.compose.service=";
        let name =
            arguments.iter().find_map(|word| word.strip_prefix(label)).context("a service has a name")?.to_owned();
        let place = arguments.iter().position(|word| word.starts_with("--name=")).context("and its container")?;
        arguments[place] = format!("--name={name}");
        found.push((name, arguments));
    }
    anyhow::ensure!(!found.is_empty(), "podman-compose said: {said}");
    Ok(found)
}

/// Made as the first lines of the composition say, once.
fn the_first_administrator_logs_in(fleet: &Fleet, containers: &Containers, images: &Path) -> anyhow::Result<()> {
    let log_in = || -> anyhow::Result<String> {
        let password = std::fs::read_to_string(images.join("secrets/ADMIN_PASSWORD"))?;
        let body = format!("{{\"login\": \"admin\", \"password\": \"{}\"}}", password.trim());
        let url = "http://127.0.0.1:8000/api/v1/sessions";
        let json = "Content-Type: application/json";
        let words =
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "-H", json, "-d", &body, url];
        fleet.run_outside(COMMAND_LIMIT, &words)?.success()
    };
    assert_eq!(log_in()?, "401", "nobody is an administrator yet");
    let words = ["exec", "web-api", "/usr/bin/ringdown-web-api", "init-admin"];
    for said in ["the administrator admin was made", "an administrator exists already; nothing was changed"] {
        let made = containers.podman(images, &words)?.success()?;
        assert!(made.contains(said), "{made}");
    }
    assert_eq!(log_in()?, "201");
    Ok(())
}

fn start(containers: &Containers, folder: &Path, name: &str, arguments: &[String]) -> anyhow::Result<()> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    for word in ["--read-only", "--cap-drop", "no-new-privileges", "host"] {
        assert!(words.contains(&word), "{name}: no {word} in {words:?}");
    }
    containers.podman(folder, &words)?.success().context(name.to_owned())?;
    Ok(())
}

/// The kernel's own view: who it is, what it may, what it can write.
fn assert_confined(containers: &Containers, name: &str, uid: &str) -> anyhow::Result<()> {
    let process = containers.process(name)?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let field =
        |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned();
    assert_eq!(field("Uid:"), [uid; 4].join("\t"), "{name}");
    assert_eq!(field("Gid:"), ["10000"; 4].join("\t"), "{name}");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{name} {set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1", "{name}");
    let refused = std::fs::write(format!("/proc/{process}/root/usr/written"), "").expect_err("its root is read-only");
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{name}");
    Ok(())
}

fn assert_labelled(containers: &Containers, name: &str, uid: &str) -> anyhow::Result<()> {
    let image = format!("localhost/ringdown-{name}:{}", env!("CARGO_PKG_VERSION"));
    let ask = |what: &str| {
        let said = containers.podman(Path::new("/"), &["image", "inspect", "--format", what, &image]);
        anyhow::Ok(said?.success()?.trim().to_owned())
    };
    assert_eq!(ask("{{.User}}")?, format!("{uid}:10000"));
    for label in ["title", "description", "version", "revision", "created", "url", "vendor", "licenses"] {
        let value = ask(&format!("{{{{index .Labels \"org.opencontainers.image.{label}\"}}}}"))?;
        assert!(!value.is_empty(), "{name}: {label} is {value:?}");
    }
    assert_eq!(ask("{{index .Labels \"org.opencontainers.image.version\"}}")?, env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// What an image is made of is said, and true in what matters: our crates, the C library.
fn assert_listed(images: &Path, name: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(images.join(format!("ringdown-{name}.cdx.json")))?;
    assert!(text.contains("\"bomFormat\": \"CycloneDX\""), "{name}");
    assert!(text.contains("pkg:deb/debian/libc6@"), "{name}: its C library is of the distribution");
    match name {
        "redis" => assert!(text.contains("pkg:deb/debian/redis-server@")),
        "postgresql" => assert!(text.contains("pkg:deb/debian/postgresql-15@")),
        "asterisk" => assert!(text.contains("pkg:deb/debian/asterisk@")),
        _ => {
            assert!(text.contains(&format!("\"name\": \"ringdown-{name}\"")) && text.contains("pkg:cargo/tokio@"));
            assert!(!text.contains("pkg:cargo/proptest@"), "{name}: what only tests it is not in it");
        }
    }
    Ok(())
}

fn assert_signed(images: &Path) -> anyhow::Result<()> {
    let said = here(&[
        "sh",
        "-c",
        &format!(
            "cd {} && sha256sum --quiet -c SHA256SUMS && gpgv --keyring ./key.gpg SHA256SUMS.asc SHA256SUMS",
            images.display()
        ),
    ]);
    said?.success().context("sums and signature")?;
    Ok(())
}
