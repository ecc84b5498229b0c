# Three Ringdown hosts on OpenStack: data, application, voice. Only formatted in our tests, which reach no provider.
# The secrets they share are brought to /srv/secrets by the image or by hand before first boot goes on: see cloud-init/README.md.

terraform {
  required_version = ">= 1.9.0"
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = "~> 3.0"
    }
  }
}

variable "image" {
  description = "The name of a Debian 12 image."
  type        = string
}

variable "flavor" {
  type = string
}

variable "network" {
  type = string
}

variable "bundle_url" {
  type = string
}

variable "bundle_sha256" {
  type = string
}

locals {
  hosts = {
    data        = { address = "192.0.2.11", components = ["redis", "postgresql"] }
    application = { address = "192.0.2.21", components = ["web-api", "provisioner", "acd", "notifier"] }
    voice       = { address = "192.0.2.31", components = ["asterisk", "provisioner", "registrar", "acd"] }
  }
}

module "seed" {
  source   = "../../modules/user-data"
  for_each = local.hosts

  components     = each.value.components
  advertise      = each.value.address
  peers          = [for name, host in local.hosts : host.address if name != each.key]
  redis_url      = each.key == "data" ? "" : "redis://${local.hosts.data.address}:6379/0"
  postgres_url   = each.key == "application" ? "postgres://ringdown@${local.hosts.data.address}:5432/ringdown" : ""
  api_url        = each.key == "voice" ? "http://${local.hosts.application.address}:8000" : ""
  secrets_folder = "/srv/secrets"
  variables      = each.key == "voice" ? { RINGDOWN_ACD_DUTIES = "voice" } : {}
  bundle_url     = var.bundle_url
  bundle_sha256  = var.bundle_sha256
}

resource "openstack_compute_instance_v2" "host" {
  for_each    = local.hosts
  name        = each.key
  image_name  = var.image
  flavor_name = var.flavor
  user_data   = module.seed[each.key].user_data
  network {
    name        = var.network
    fixed_ip_v4 = each.value.address
  }
}
