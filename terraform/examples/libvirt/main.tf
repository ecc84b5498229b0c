# One Ringdown host on libvirt. Only formatted in our tests, which reach no provider.

terraform {
  required_version = ">= 1.9.0"
  required_providers {
    libvirt = {
      source  = "dmacvicar/libvirt"
      version = "~> 0.8.0"
    }
  }
}

variable "image" {
  description = "A Debian 12 generic-cloud image, a path or a URL."
  type        = string
}

variable "bundle_url" {
  type = string
}

variable "bundle_sha256" {
  type = string
}

module "seed" {
  source        = "../../modules/user-data"
  bundle_url    = var.bundle_url
  bundle_sha256 = var.bundle_sha256
}

resource "libvirt_volume" "image" {
  name   = "ringdown-debian.qcow2"
  source = var.image
}

resource "libvirt_volume" "root" {
  name           = "ringdown1.qcow2"
  base_volume_id = libvirt_volume.image.id
  size           = 20 * 1024 * 1024 * 1024
}

# Outlives the host: its file system has, or gets, the label ringdown-data.
resource "libvirt_volume" "data" {
  name = "ringdown1-data.raw"
  size = 20 * 1024 * 1024 * 1024
  lifecycle {
    prevent_destroy = true
  }
}

resource "libvirt_cloudinit_disk" "seed" {
  name      = "ringdown1-seed.iso"
  user_data = module.seed.user_data
  meta_data = "instance-id: ringdown1\nlocal-hostname: ringdown1\n"
}

resource "libvirt_domain" "host" {
  name      = "ringdown1"
  memory    = 4096
  vcpu      = 2
  cloudinit = libvirt_cloudinit_disk.seed.id
  disk {
    volume_id = libvirt_volume.root.id
  }
  disk {
    volume_id = libvirt_volume.data.id
  }
  network_interface {
    network_name   = "default"
    wait_for_lease = true
  }
}
