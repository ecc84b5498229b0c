# terraform test: what is rendered, and what is refused.

variables {
  bundle_path = "/srv/bundle"
}

run "all_in_one" {
  command = plan
  assert {
    condition     = yamldecode(output.user_data).write_files[0].content == "RINGDOWN_COMPONENTS=all\n"
    error_message = "one host needs no more than this"
  }
  assert {
    condition     = endswith(yamldecode(output.user_data).write_files[1].content, "exec /srv/bundle/first_boot_installer --unless-done\n")
    error_message = "it runs the bundle's installer"
  }
}

run "hosts_of_their_own" {
  command = plan
  variables {
    components     = ["acd", "asterisk", "provisioner", "registrar"]
    redis_url      = "redis://192.0.2.11:6379/0"
    peers          = ["192.0.2.11", "192.0.2.0/28"]
    secrets_folder = "/srv/secrets"
    variables      = { RINGDOWN_ACD_DUTIES = "voice" }
  }
  assert {
    condition     = strcontains(output.user_data, "    RINGDOWN_ACD_DUTIES=voice\n") && strcontains(output.user_data, "    RINGDOWN_PEERS=192.0.2.11,192.0.2.0/28\n")
    error_message = "variables reach the host"
  }
}

run "a_bundle_to_download" {
  command = plan
  variables {
    bundle_path   = ""
    bundle_url    = "https://mirror.example/ringdown.tar"
    bundle_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }
  assert {
    condition     = strcontains(output.user_data, "sha256sum --check --status") && strcontains(output.user_data, "'https://mirror.example/ringdown.tar'")
    error_message = "it is checked before it runs"
  }
}

run "a_host_that_is_backed_up" {
  command = plan
  variables {
    components       = ["redis", "postgresql", "backup"]
    backup_recipient = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
    backup_folder    = "/mnt/copies"
  }
  assert {
    condition     = strcontains(output.user_data, "    RINGDOWN_BACKUP_RECIPIENT=age1qqq") && strcontains(output.user_data, "    RINGDOWN_BACKUP_DIR=/mnt/copies\n")
    error_message = "variables of backups reach the host"
  }
}

run "an_identity_is_refused" {
  command = plan
  variables {
    backup_recipient = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ"
  }
  expect_failures = [var.backup_recipient]
}

run "one_of_several_data_hosts" {
  command = plan
  variables {
    components       = ["redis", "postgresql"]
    redis_members    = ["192.0.2.11", "192.0.2.12", "192.0.2.13"]
    postgres_members = ["192.0.2.11", "192.0.2.12"]
    peers            = ["192.0.2.0/24"]
    secrets_folder   = "/srv/secrets"
  }
  assert {
    condition     = strcontains(output.user_data, "    RINGDOWN_REDIS_MEMBERS=192.0.2.11,192.0.2.12,192.0.2.13\n") && strcontains(output.user_data, "    RINGDOWN_POSTGRES_MEMBERS=192.0.2.11,192.0.2.12\n")
    error_message = "members reach the host"
  }
}

run "a_host_of_several_data_hosts" {
  command = plan
  variables {
    components     = ["web-api"]
    redis_url      = "redis+sentinel://192.0.2.11:26379,192.0.2.12:26379,192.0.2.13:26379/ringdown/0"
    postgres_url   = "postgres://ringdown@192.0.2.11:5432,192.0.2.12:5432/ringdown?target_session_attrs=read-write&load_balance_hosts=random"
    peers          = ["192.0.2.0/24"]
    secrets_folder = "/srv/secrets"
  }
  assert {
    condition     = strcontains(output.user_data, "    RINGDOWN_REDIS_URL=redis+sentinel://192.0.2.11:26379,")
    error_message = "several members are named"
  }
}

run "two_cannot_elect" {
  command = plan
  variables {
    components     = ["redis"]
    redis_members  = ["192.0.2.11", "192.0.2.12"]
    peers          = ["192.0.2.0/24"]
    secrets_folder = "/srv/secrets"
  }
  expect_failures = [var.redis_members]
}

run "a_load_balancer" {
  command = plan
  variables {
    components       = ["haproxy", "keepalived"]
    haproxy_api      = ["192.0.2.21", "api.example:8000"]
    haproxy_notifier = ["192.0.2.21"]
    vip              = "192.0.2.1"
    vip_peers        = ["192.0.2.3"]
  }
  assert {
    condition     = strcontains(output.user_data, "    RINGDOWN_HAPROXY_API=192.0.2.21,api.example:8000\n") && strcontains(output.user_data, "    RINGDOWN_VIP=192.0.2.1\n")
    error_message = "variables of a load balancer reach the host"
  }
}

run "a_load_balancer_with_nothing_behind_it" {
  command = plan
  variables {
    components = ["haproxy"]
  }
  expect_failures = [var.haproxy_api]
}

run "keepalived_without_an_address" {
  command = plan
  variables {
    components  = ["haproxy", "keepalived"]
    haproxy_api = ["192.0.2.21"]
    vip_peers   = ["192.0.2.3"]
  }
  expect_failures = [var.vip]
}

run "keepalived_alone" {
  command = plan
  variables {
    components = ["keepalived"]
    vip        = "192.0.2.1"
    vip_peers  = ["192.0.2.3"]
  }
  expect_failures = [var.components]
}

run "a_component_that_is_not_known" {
  command = plan
  variables {
    components = ["redis", "postgres"]
  }
  expect_failures = [var.components]
}

run "no_component" {
  command = plan
  variables {
    components = []
  }
  expect_failures = [var.components]
}

run "asterisk_without_its_provisioner" {
  command = plan
  variables {
    components = ["asterisk"]
  }
  expect_failures = [var.components]
}

run "a_peer_that_is_not_named" {
  command = plan
  variables {
    components = ["web-api"]
    redis_url  = "redis://192.0.2.11:6379/0"
  }
  expect_failures = [var.postgres_url]
}

run "a_password_in_a_url" {
  command = plan
  variables {
    redis_url = "redis://:hunter2@192.0.2.11:6379/0"
  }
  expect_failures = [var.redis_url]
}

run "a_password_in_another_url" {
  command = plan
  variables {
    variables = { RINGDOWN_ACD_ARI_URL = "ws://ringdown:hunter2@192.0.2.31:8012/ari" }
  }
  expect_failures = [var.variables]
}

run "a_secret_by_name" {
  command = plan
  variables {
    variables = { RINGDOWN_REDIS_PASSWORD = "hunter2" }
  }
  expect_failures = [var.variables]
}

run "a_value_of_two_lines" {
  command = plan
  variables {
    variables = { RINGDOWN_NODE_NAME = "one\nruncmd: [id]" }
  }
  expect_failures = [var.variables]
}

run "no_address" {
  command = plan
  variables {
    peers = ["192.0.2.256"]
  }
  expect_failures = [var.peers]
}

run "no_bundle" {
  command = plan
  variables {
    bundle_path = ""
  }
  expect_failures = [var.bundle_path]
}

run "a_bundle_without_its_checksum" {
  command = plan
  variables {
    bundle_path = ""
    bundle_url  = "https://mirror.example/ringdown.tar"
  }
  expect_failures = [var.bundle_sha256]
}

run "a_private_key" {
  command = plan
  variables {
    ssh_authorized_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"]
  }
  expect_failures = [var.ssh_authorized_keys]
}
