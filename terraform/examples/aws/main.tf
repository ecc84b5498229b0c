# One Ringdown host on AWS. Only formatted in our tests, which reach no provider.

terraform {
  required_version = ">= 1.9.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

variable "image_id" {
  description = "The id of a Debian 12 image in the region."
  type        = string
}

variable "subnet_id" {
  type = string
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

data "aws_subnet" "place" {
  id = var.subnet_id
}

resource "aws_instance" "host" {
  ami           = var.image_id
  instance_type = "m7i.large"
  subnet_id     = var.subnet_id
  user_data     = module.seed.user_data
  # A change of user-data says nothing to a host that has booted.
  user_data_replace_on_change = true
  metadata_options {
    http_tokens = "required"
  }
}

# Outlives the host: its file system has, or gets, the label ringdown-data.
resource "aws_ebs_volume" "data" {
  availability_zone = data.aws_subnet.place.availability_zone
  size              = 20
  encrypted         = true
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_volume_attachment" "data" {
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data.id
  instance_id = aws_instance.host.id
}
