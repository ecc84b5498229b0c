# What cloud-init/ holds: the user-data of every component on a host of its own, and of all on one, with addresses of the
# documentation networks. cloud-init/render writes the files.

locals {
  known = jsondecode(file("${path.module}/../modules/user-data/components.json"))
  hosts = merge(
    { all = ["all"] },
    { for name, facts in local.known : name => concat([name], facts.with) },
  )
  # What each of them must reach elsewhere.
  needs = { for host, names in local.hosts : host => host == "all" ? [] : setsubtract(
    toset(flatten([for name in names : local.known[name].needs])), toset(names)
  ) }
}

module "host" {
  source   = "../modules/user-data"
  for_each = local.hosts

  components       = each.value
  bundle_path      = "/srv/bundle"
  peers            = each.key == "all" ? [] : ["192.0.2.0/24"]
  redis_url        = contains(local.needs[each.key], "redis") ? "redis://192.0.2.11:6379/0" : ""
  postgres_url     = contains(local.needs[each.key], "postgresql") ? "postgres://ringdown@192.0.2.11:5432/ringdown" : ""
  haproxy_api      = contains(local.needs[each.key], "web-api") ? ["192.0.2.21", "192.0.2.22"] : []
  haproxy_notifier = contains(local.needs[each.key], "web-api") ? ["192.0.2.21", "192.0.2.22"] : []
  vip              = contains(each.value, "keepalived") ? "192.0.2.1" : ""
  vip_peers        = contains(each.value, "keepalived") ? ["192.0.2.3"] : []
  api_url          = each.key == "all" || contains(each.value, "web-api") ? "" : "http://192.0.2.21:8000"
  secrets_folder   = each.key == "all" ? "" : "/srv/secrets"
}

output "user_data" {
  description = "User-data by the name of the host's component."
  value       = { for name, host in module.host : name => host.user_data }
}
