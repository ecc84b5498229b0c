//! The fronts that need servers our daemons are not yet, TLS and names of DNS, on one load balancer of a made cluster.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{Fleet, Host, wait_for};

use crate::cluster::address;

const LIMIT: Duration = Duration::from_secs(20);
const TLS_PORT: u16 = 9_444;

/// A server with TLS that says its own name, and is ready.
const SERVER: &str = "import http.server, socket, ssl
class Named(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = socket.gethostname().encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('', 9444), Named)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('/srv/server.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

/// An authority, and a certificate of it for each address.
fn certificates(folder: &Path, addresses: &[&str]) -> anyhow::Result<()> {
    let line = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test -keyout ca.key -out ca.pem 2>/dev/null
        for address; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$address -keyout $address.key -out $address.csr 2>/dev/null
            echo subjectAltName=IP:$address,DNS:api.example >$address.ext
            openssl x509 -req -days 2 -in $address.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $address.ext -out $address.crt 2>/dev/null
            cat $address.key $address.crt >$address.pem
        done";
    let made = Command::new("sh").args(["-euc", line, "certificates"]).args(addresses).current_dir(folder).status()?;
    ensure!(made.success(), "making certificates");
    Ok(())
}

fn curl(fleet: &Fleet, arguments: &[&str]) -> anyhow::Result<String> {
    let words = [&["curl", "--silent", "--show-error", "--fail", "--max-time", "5"], arguments].concat();
    fleet.run_outside(LIMIT, &words)?.success()
}

fn servers(balancer: &Host, backend: &str) -> anyhow::Result<Vec<String>> {
    let said = balancer.sh("/usr/lib/ringdown/front servers")?;
    Ok(said.lines().filter(|line| line.starts_with(&format!("{backend} "))).map(str::to_owned).collect())
}

fn up(balancer: &Host, backend: &str, count: usize) -> anyhow::Result<()> {
    wait_for(LIMIT, &format!("{count} servers of {backend} are up"), || {
        let up = servers(balancer, backend).ok()?.iter().filter(|line| line.contains(" UP ")).count();
        (up == count).then_some(())
    })
}

/// TLS to TLS with a cookie, TLS passed through, servers that a name of DNS gives.
pub(crate) fn every_front(fleet: &Fleet, balancer: &Host, app: &[Host]) -> anyhow::Result<()> {
    let folder = fleet.folder("certificates")?;
    let places: Vec<_> = app.iter().map(Host::address).collect();
    certificates(&folder, &places)?;
    for host in app {
        host.put("/srv/server.pem", &std::fs::read(folder.join(format!("{}.pem", host.address())))?, 0o600)?;
        host.put("/srv/server.py", SERVER.as_bytes(), 0o644)?;
        host.sh(&format!("nft insert rule inet ringdown input tcp dport {TLS_PORT} accept"))?;
        host.sh("systemd-run --quiet --unit=tls-server python3 /srv/server.py")?;
    }
    let authority = std::fs::read_to_string(folder.join("ca.pem"))?;
    let trusted = balancer.get("/etc/ssl/certs/ca-certificates.crt")?;
    balancer.put("/etc/ssl/certs/ca-certificates.crt", format!("{trusted}{authority}").as_bytes(), 0o644)?;
    let hosts = balancer.get("/etc/hosts")?;
    balancer.put("/etc/hosts", format!("{hosts}{} api.example\n", places[0]).as_bytes(), 0o644)?;

    let tls = places.iter().map(|place| format!("{place}:{TLS_PORT}")).collect::<Vec<_>>().join(",");
    let settings = [
        format!("RINGDOWN_HAPROXY_CONSOLE_TLS={tls}"),
        format!("RINGDOWN_HAPROXY_API_TLS={tls}"),
        "RINGDOWN_HAPROXY_API=api.example".to_owned(),
    ];
    let mut words = vec!["env"];
    words.extend(settings.iter().map(String::as_str));
    words.push("/srv/bundle/first_boot_installer");
    let main = balancer.main_pid("haproxy")?;
    balancer.run_for(Duration::from_secs(180), &words)?.success()?;
    ensure!(balancer.main_pid("haproxy")? == main, "reloaded, not restarted");

    up(balancer, "console", 2)?;
    let console = format!("https://{}:8443/", balancer.address());
    let jar = folder.join("jar");
    let jar = jar.to_str().context("a path")?;
    let first = curl(fleet, &["--insecure", "--cookie-jar", jar, &console])?;
    for _ in 0..4 {
        ensure!(curl(fleet, &["--insecure", "--cookie", jar, &console])? == first, "a browser stays with one server");
    }

    up(balancer, "api-tls", 2)?;
    let ca = folder.join("ca.pem");
    let through = format!("api.example:9443:{}", balancer.address());
    let words =
        ["--cacert", ca.to_str().context("a path")?, "--resolve", through.as_str(), "https://api.example:9443/"];
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(curl(fleet, &words)?);
    }
    seen.sort();
    ensure!(seen == ["app1", "app1", "app2", "app2"], "TLS ends at the servers, in turn: {seen:?}");

    up(balancer, "api", 1)?;
    let worker = balancer.sh("pgrep --newest --exact haproxy")?;
    balancer.put(
        "/etc/hosts",
        format!("{hosts}{} api.example\n{} api.example\n", places[0], places[1]).as_bytes(),
        0o644,
    )?;
    up(balancer, "api", 2)?;
    ensure!(balancer.sh("pgrep --newest --exact haproxy")? == worker, "without a reload");
    Ok(())
}

/// From a host of the installation: what answers is a Redis that can be written.
pub(crate) fn redis_is_written(app: &Host, balancer: u8, password: &str) -> anyhow::Result<()> {
    let script = format!(
        "exec 3<>/dev/tcp/{}/12000; printf 'AUTH {password}\\r\\nSET front yes\\r\\nQUIT\\r\\n' >&3; cat <&3",
        address(balancer)
    );
    let said = app.run(&["timeout", "5", "bash", "-c", &script])?.success()?;
    ensure!(said.matches("+OK").count() == 3, "{said}");
    Ok(())
}
