# The user-data of one Ringdown host: what it becomes, and where its bundle is. It needs no provider, so it is tried
# without any cloud; what a cloud adds is in examples/. It never holds a secret: who can read user-data (every process of the
# host, in most clouds) learns names, addresses and paths.

terraform {
  required_version = ">= 1.9.0"
}

locals {
  # Made by packaging/generate from packaging/manifest.toml.
  known = jsondecode(file("${path.module}/components.json"))
  all   = contains(var.components, "all")
  has   = local.all ? keys(local.known) : var.components
  # A wrong name is told by the validation of `components`, not here.
  needs = flatten([for name in local.has : lookup(local.known, name, { needs = [] }).needs])
  # Peers that are not on this host must be named.
  absent = setsubtract(toset(local.needs), toset(local.has))

  named = {
    RINGDOWN_COMPONENTS        = join(",", var.components)
    RINGDOWN_ADVERTISE         = var.advertise
    RINGDOWN_PEERS             = join(",", var.peers)
    RINGDOWN_REDIS_URL         = var.redis_url
    RINGDOWN_POSTGRES_URL      = var.postgres_url
    RINGDOWN_REDIS_MEMBERS     = join(",", var.redis_members)
    RINGDOWN_POSTGRES_MEMBERS  = join(",", var.postgres_members)
    RINGDOWN_API_URL           = var.api_url
    RINGDOWN_DATA_DEVICE       = var.data_device
    RINGDOWN_HAPROXY_API       = join(",", var.haproxy_api)
    RINGDOWN_HAPROXY_NOTIFIER  = join(",", var.haproxy_notifier)
    RINGDOWN_HAPROXY_REDIS     = join(",", var.haproxy_redis)
    RINGDOWN_TLS_CERTIFICATE   = var.tls_certificate
    RINGDOWN_VIP               = var.vip
    RINGDOWN_VIP_PEERS         = join(",", var.vip_peers)
    RINGDOWN_BACKUP_RECIPIENT  = var.backup_recipient
    RINGDOWN_BACKUP_DIR        = var.backup_folder
    INSTALL_RINGDOWN_SECRETS   = var.secrets_folder
    INSTALL_RINGDOWN_KEY       = var.bundle_key
    INSTALL_RINGDOWN_FIREWALL  = var.firewall ? "" : "no"
    INSTALL_RINGDOWN_SKIP_CALL = var.test_call ? "" : "yes"
  }
  variables = merge({ for name, value in local.named : name => value if value != "" }, var.variables)

  user_data = templatefile("${path.module}/templates/user-data.yaml.tftpl", {
    components          = join(", ", var.components)
    ssh_authorized_keys = var.ssh_authorized_keys
    lines               = [for name, value in local.variables : "${name}=${value}"]
    first_boot = trimspace(templatefile("${path.module}/templates/first-boot.tftpl", {
      path   = var.bundle_path
      url    = var.bundle_url
      sha256 = var.bundle_sha256
    }))
  })
}
