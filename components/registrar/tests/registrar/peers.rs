//! SIP that nobody here wrote: sipp and baresip.

use std::net::SocketAddr;
use std::path::Path;

use ringdown_registrar_core::digest::Algorithm;
use ringdown_test_support::{Folder, Process, Spec, free_port, wait_until};

use super::from_node;
use super::house::{House, LIMIT, Phone, scenario};

/// sipp offers no SHA-256 and looks at the first challenge only.
const MD5_FIRST: &[Algorithm] = &[Algorithm::Md5, Algorithm::Sha256];

fn sipp(folder: &Folder, name: &str, local: SocketAddr, remote: SocketAddr, calls: u32) -> Spec {
    let (ip, port) = (local.ip().to_string(), local.port().to_string());
    Spec::new("sipp", "sipp", folder.join(format!("{name}.log")))
        .folder(folder.path())
        .arg("-sf")
        .arg(scenario(&format!("{name}.xml")))
        .args(["-i", &ip, "-p", &port, "-m", &calls.to_string(), "-nostdin", "-trace_err", "-timeout", "20"])
        .args(["-r", "50", "-timeout_error", "-recv_timeout", "5000"])
        .arg(remote.to_string())
}

async fn succeed(mut process: Process, folder: &Folder) {
    let status = process.wait_exit(LIMIT).await.unwrap();
    assert!(status.success(), "{status}: {}\n{}", process.log_tail(), errors(folder.path()));
}

fn errors(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    files
        .filter(|file| file.file_name().to_string_lossy().contains("errors"))
        .map(|file| std::fs::read_to_string(file.path()).unwrap_or_default())
        .collect()
}

async fn register_by_sipp(house: &House, folder: &Folder, local: SocketAddr, transport: &str) {
    std::fs::write(folder.join("users.csv"), "SEQUENTIAL\n100;[authentication username=100 password=secret]\n")
        .unwrap();
    let spec = sipp(folder, "register", local, house.sip, 1).arg("-inf").arg(folder.join("users.csv"));
    succeed(spec.args(["-t", transport]).start().unwrap(), folder).await;
}

#[tokio::test]
async fn sipp_registers_and_is_called() {
    let house = House::build(MD5_FIRST).await;
    let folder = Folder::new("registrar-sipp").unwrap();
    let phone = SocketAddr::from(([127, 0, 0, 1], free_port()));
    register_by_sipp(&house, &folder, phone, "u1").await;
    assert_eq!(house.stored("100").await.len(), 1);

    let answering = sipp(&folder, "phone", phone, house.sip, 50).start().unwrap();
    wait_until(LIMIT, "sipp answers at its port", async || std::net::UdpSocket::bind(phone).is_err().then_some(()))
        .await;
    let calling = sipp(&folder, "node", house.node, house.sip, 50).start().unwrap();
    succeed(calling, &folder).await;
    succeed(answering, &folder).await;
    house.stop().await;
}

#[tokio::test]
async fn sipp_registers_over_tcp() {
    let house = House::build(MD5_FIRST).await;
    let folder = Folder::new("registrar-sipp-tcp").unwrap();
    register_by_sipp(&house, &folder, SocketAddr::from(([127, 0, 0, 1], free_port())), "t1").await;
    house.stop().await;
}

#[tokio::test]
async fn baresip_registers_and_is_rung() {
    // Debian 12's baresip 1.0 gives up at a challenge it does not know, whatever else is offered.
    let house = House::build(&[Algorithm::Md5]).await;
    let folder = Folder::new("registrar-baresip").unwrap();
    let port = free_port();
    std::fs::write(
        folder.join("config"),
        format!(
            "sip_listen 127.0.0.1:{port}\nmodule_path /usr/lib/baresip/modules\nmodule account.so\nmodule_app menu.so\n\
             module g711.so\n"
        ),
    )
    .unwrap();
    let account = format!(
        "<sip:100@rd.test>;auth_user=100;auth_pass=secret;outbound=\"sip:{};transport=udp\";regint=600\n",
        house.sip
    );
    std::fs::write(folder.join("accounts"), account).unwrap();
    std::fs::write(folder.join("contacts"), "").unwrap();
    let process =
        Spec::new("baresip", "baresip", folder.join("baresip.log")).arg("-f").arg(folder.path()).start().unwrap();
    wait_until(LIMIT, "baresip is registered", async || (!house.stored("100").await.is_empty()).then_some(())).await;
    let node = Phone::udp_at(house.node, house.sip).await;
    node.send(from_node(&node, "OPTIONS", "qualify").as_bytes()).await;
    assert_eq!(node.final_response().await.status(), Some(200), "{}", process.log_tail());
    house.stop().await;
}
