"""Files about images, made from packaging/manifest.toml: Containerfiles, quadlets, the composition. Read by packaging/generate.

An image holds one program, the libraries it is linked with, and nothing else: no shell, no package manager. Containers run as
the image's user, with a root they cannot write to and no capability.
"""

import json

MARK = "# Made by packaging/generate from manifest.toml. Changes by hand are overwritten."

# What packaging/build lays out as `root` becomes the image as it is.
CONTAINERFILE = """{mark}
FROM scratch
ARG VERSION
ARG REVISION
ARG CREATED
COPY root /
{own}LABEL org.opencontainers.image.title="ringdown-{name}" \\
    org.opencontainers.image.description="{description}" \\
    org.opencontainers.image.version="$VERSION" \\
    org.opencontainers.image.revision="$REVISION" \\
    org.opencontainers.image.created="$CREATED" \\
    org.opencontainers.image.url="{url}" \\
    org.opencontainers.image.vendor="Ringdown" \\
    org.opencontainers.image.licenses="{licences}"
USER {uid}:{gid}
EXPOSE {ports}
STOPSIGNAL {stop}
ENTRYPOINT {entry}
"""

# A host with quadlets uses the very files of a host with packages: /etc/ringdown/{ringdown,<name>}.env and the credentials.
QUADLET = """{mark}
[Unit]
Description={summary}
PartOf=ringdown.target
# An order only where both start: every daemon waits by itself for what is not there yet.
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Container]
Image=localhost/ringdown-{name}:{version}
# From `podman load`, never from a registry.
Pull=never
ContainerName=ringdown-{name}
# SIP and RTP carry addresses, and the environment is that of the packages: the host's network.
Network=host
ReadOnly=true
ReadOnlyTmpfs=false
DropCapability=all
NoNewPrivileges=true
PidsLimit=512
{inside}
[Service]
# Older podman leaves the mark of a container that is gone, and starts none beside it.
ExecStartPre=/usr/bin/rm -f %t/%N.cid
{service}Restart=always
RestartSec=500ms
# 78: the configuration is wrong, and stays wrong.
RestartPreventExitStatus=78
TimeoutStopSec=45

[Install]
WantedBy=ringdown.target
"""

QUADLET_DAEMON = """Notify=true
EnvironmentFile=/etc/ringdown/ringdown.env
EnvironmentFile=/etc/ringdown/{name}.env
Environment={environment}RINGDOWN_NODE_NAME=%H CREDENTIALS_DIRECTORY=/run/credentials
Volume=%t/ringdown-{name}:/run/credentials:ro
PodmanArgs=--memory=4g
"""

# systemd reads the credentials as root; what the container's user can read lives as long as the container, in memory.
QUADLET_CREDENTIALS = """LoadCredential=RINGDOWN:/etc/ringdown/credentials/{name}
RuntimeDirectory=ringdown-{name}
RuntimeDirectoryMode=0711
ExecStartPre=/usr/bin/find %d -type f -exec /usr/bin/install -o {uid} -g {gid} -m 0400 -t %t/ringdown-{name} {{}} +
"""

COMPOSE = """{mark}
# All of Ringdown on one machine, on its own network as packages are: SIP and RTP carry addresses.
#
#   compose_prepare                    makes secrets/ and ringdown.env beside this file, once
#   podman load -i ringdown-acd.tar    and so on, every image
#   podman-compose up -d               the web API is at 127.0.0.1:8000
#   podman-compose exec web-api /usr/bin/ringdown-web-api init-admin
#                                      the first administrator, admin, with the password in secrets/ADMIN_PASSWORD
name: ringdown
services:
{services}volumes:
{volumes}secrets:
{secrets}"""

SERVICE = """  {name}:
    image: localhost/ringdown-{name}:{version}
    pull_policy: never
    network_mode: host
    restart: always
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges"]
    pids_limit: 512
    stop_grace_period: 45s
"""

# What is no daemon of ours: what the image starts, how it is told to stop, and the licences in it.
FOREIGN = {
    "asterisk": (["/usr/sbin/asterisk", "-C", "/srv/etc/asterisk.conf", "-f", "-n"], "SIGTERM", "GPL-2.0-only"),
    "redis": (["/usr/bin/redis-server", "/usr/share/ringdown/redis.conf"], "SIGTERM", "BSD-3-Clause"),
    "postgresql": (["/usr/share/ringdown/postgresql_run"], "SIGINT", "PostgreSQL"),
}


def every(manifest):
    """Every component that has an image: name, what the manifest says of it."""
    everything = {**manifest.all["service"], **manifest.daemons, "asterisk": manifest.all["asterisk"]}
    return sorted((name, said) for name, said in everything.items() if "uid" in said)


def files(manifest, version):
    """The committed files: path below packaging/, text."""
    for name, said in every(manifest):
        yield f"{name}/Containerfile", containerfile(manifest, name, said)
        if name not in manifest.all["service"]:
            yield f"{name}/ringdown-{name}.container", quadlet(manifest, name, said, version)
    yield "base/compose.yaml", compose(manifest, version)


def containerfile(manifest, name, said):
    product = manifest.product
    entry, stop, licences = FOREIGN.get(name, ([f"/usr/bin/ringdown-{name}"], "SIGTERM", product["licence"]))
    # A new volume takes the owner of the folder it covers.
    places = [volume.split(":")[1] for volume in said.get("volumes", [])]
    own = "".join(f"COPY --chown={said['uid']}:{manifest.all['image']['group']} own {place}\n" for place in places)
    return CONTAINERFILE.format(
        mark=MARK,
        name=name,
        description=said.get("description", said["summary"]),
        url=product["url"],
        licences=licences,
        own=own,
        uid=said["uid"],
        gid=manifest.all["image"]["group"],
        ports=" ".join(said["ports"]),
        stop=stop,
        entry=json.dumps(entry),
    )


def quadlet(manifest, name, said, version):
    facts = {"name": name, "uid": said["uid"], "gid": manifest.all["image"]["group"]}
    if name in manifest.daemons:
        facts["environment"] = "".join(f"{key}={value} " for key, value in sorted(said.get("environment", {}).items()))
        inside = QUADLET_DAEMON.format(**facts) + "".join(f"Volume={folder}:{folder}\n" for folder in said.get("writes", []) + said.get("shares", []))
        made = "ExecStartPre=/usr/bin/install -d -o {uid} -g {gid} -m 2770 {folder}\n"
        service = QUADLET_CREDENTIALS.format(**facts) + "".join(made.format(folder=folder, **facts) for folder in said.get("writes", []) + said.get("shares", []))
    else:
        inside, service = "Volume=/var/lib/ringdown/asterisk:/srv\n", ""
    return QUADLET.format(mark=MARK, version=version, summary=said["summary"], inside=inside, service=service, **facts)


def compose(manifest, version):
    services, volumes, secrets = "", [], []
    for name, said in every(manifest):
        services += service(manifest, name, said, version)
        volumes += [volume.split(":")[0] for volume in said.get("volumes", [])]
        secrets += said["secrets"]
    return COMPOSE.format(
        mark=MARK,
        services=services,
        volumes="".join(f"  {name}: {{}}\n" for name in sorted(set(volumes))),
        secrets="".join(f"  {name}:\n    file: ./secrets/{name}\n" for name in sorted(set(secrets))),
    )


def service(manifest, name, said, version):
    text = SERVICE.format(name=name, version=version)
    environment = said.get("environment", {})
    if name in manifest.daemons:
        text += block("env_file", ["- ./ringdown.env"])
        environment |= {f"RINGDOWN_{secret}_FILE": f"/run/secrets/{secret}" for secret in said["secrets"]}
    text += block("environment", [f"{key}: {json.dumps(value)}" for key, value in sorted(environment.items())])
    text += block("secrets", [f"- {secret}" for secret in said["secrets"]])
    text += block("volumes", [f"- {volume}" for volume in said.get("volumes", [])])
    return text + block("tmpfs", ["- /tmp"] if name not in manifest.daemons else [])


def block(name, lines):
    return f"    {name}:\n" + "".join(f"      {line}\n" for line in lines) if lines else ""
