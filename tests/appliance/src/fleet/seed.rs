//! What a host finds at its first boot: its name, its address, and perhaps user-data for cloud-init.

use std::path::Path;

use anyhow::Context;

/// Who sets the host up.
#[derive(Clone, Debug)]
pub enum Seed {
    /// Nobody: name and network are written, cloud-init stays off (boots in 2 s).
    Plain,
    /// cloud-init, by a NoCloud seed with this user-data.
    Cloud {
        /// A new one makes cloud-init run its user-data again.
        instance: String,
        /// `#cloud-config`, or a script.
        user_data: String,
    },
}

impl Seed {
    pub(super) fn write(&self, root: &Path, name: &str, address: &str) -> anyhow::Result<()> {
        match self {
            Self::Plain => {
                write(root, "etc/hostname", &format!("{name}\n"))?;
                write(root, "etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n"))?;
                write(root, "etc/cloud/cloud-init.disabled", "")?;
                // Keys of the host, which cloud-init would make.
                write(
                    root,
                    "etc/systemd/system/ssh.service.d/keys.conf",
                    "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n",
                )?;
                // Without router advertisements on the bridge networkd would wait 13 s for them.
                let network = format!(
                    "[Match]\nName=host0\n[Network]\nAddress={address}/24\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n"
                );
                write(root, "etc/systemd/network/10-host0.network", &network)
            }
            Self::Cloud { instance, user_data } => {
                let seed = "var/lib/cloud/seed/nocloud";
                write(
                    root,
                    &format!("{seed}/meta-data"),
                    &format!("instance-id: {instance}\nlocal-hostname: {name}\n"),
                )?;
                write(root, &format!("{seed}/user-data"), user_data)?;
                let network = format!("version: 2\nethernets:\n  host0:\n    addresses: [ {address}/24 ]\n");
                write(root, &format!("{seed}/network-config"), &network)?;
                // cloud-init 22.4 drops `accept-ra: false` for networkd.
                write(
                    root,
                    "etc/systemd/network/10-cloud-init-host0.network.d/ra.conf",
                    "[Network]\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n",
                )
            }
        }
    }
}

fn write(root: &Path, path: &str, text: &str) -> anyhow::Result<()> {
    let path = root.join(path);
    let folder = path.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
