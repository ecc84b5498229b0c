variable "components" {
  description = "What the host is: [\"all\"], or components of components.json."
  type        = list(string)
  default     = ["all"]

  validation {
    condition     = length(var.components) > 0 && length(distinct(var.components)) == length(var.components)
    error_message = "Name at least one component, and none twice."
  }
  validation {
    condition     = var.components == tolist(["all"]) || alltrue([for name in var.components : contains(keys(local.known), name)])
    error_message = "A component is not known. It is [\"all\"], or of: ${join(", ", keys(local.known))}."
  }
  validation {
    condition = alltrue(flatten([for name in var.components : [
      for companion in lookup(local.known, name, { with = [] }).with : contains(var.components, companion)
    ]]))
    error_message = "asterisk needs provisioner on its host, which writes its files; keepalived needs haproxy, which it watches."
  }
}

variable "redis_url" {
  description = "Where Redis is, when it is on another host: redis://192.0.2.11:6379/0, or its Sentinels: redis+sentinel://192.0.2.11:26379,192.0.2.12:26379,192.0.2.13:26379/ringdown/0. No password."
  type        = string
  default     = ""

  validation {
    condition     = var.redis_url == "" || can(regex("^(redis://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[0-9]{1,2})?|redis[+]sentinel://[A-Za-z0-9.-]+(:[0-9]{1,5})?(,[A-Za-z0-9.-]+(:[0-9]{1,5})?)*(/[a-z]+(/[0-9]{1,2})?)?)$", var.redis_url))
    error_message = "It is redis://HOST:PORT/DATABASE or redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/NAME/DATABASE, without user and password: a secret does not belong into user-data."
  }
  validation {
    condition     = var.redis_url != "" || !contains(local.absent, "redis")
    error_message = "These components need Redis, which is not among them: say where it is."
  }
}

variable "postgres_url" {
  description = "Where PostgreSQL is, when it is on another host: postgres://ringdown@192.0.2.11:5432/ringdown; several members have commas between, and ?target_session_attrs=read-write&load_balance_hosts=random behind. No password."
  type        = string
  default     = ""

  validation {
    condition     = var.postgres_url == "" || can(regex("^postgres(ql)?://([a-z_]+@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?(,[A-Za-z0-9.-]+(:[0-9]{1,5})?)*/[a-z_]+([?]target_session_attrs=read-write(&load_balance_hosts=random)?)?$", var.postgres_url))
    error_message = "It is postgres://USER@HOST:PORT/DATABASE, without a password: a secret does not belong into user-data."
  }
  validation {
    condition     = var.postgres_url != "" || !contains(local.absent, "postgresql")
    error_message = "These components need PostgreSQL, which is not among them: say where it is."
  }
}

variable "redis_members" {
  description = "Of a host with redis: all hosts of one Redis, in the same order everywhere; empty: it is alone."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.redis_members) == 0 || (length(var.redis_members) >= 3 && length(distinct(var.redis_members)) == length(var.redis_members))
    error_message = "Give three members or more, none twice: two cannot elect a master when one of them is gone."
  }
  validation {
    condition     = alltrue([for member in var.redis_members : can(cidrhost("${member}/32", 0))])
    error_message = "A member is an IPv4 address."
  }
  validation {
    condition     = length(var.redis_members) == 0 || contains(local.has, "redis") && var.secrets_folder != "" && length(var.peers) > 0
    error_message = "Members are of a host with redis, which has peers, and a folder with the secrets that members share."
  }
}

variable "postgres_members" {
  description = "Of a host with postgresql: all hosts of one PostgreSQL, in the same order everywhere, the first primary first; empty: it is alone."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.postgres_members) != 1 && length(distinct(var.postgres_members)) == length(var.postgres_members)
    error_message = "Give two members or more, none twice."
  }
  validation {
    condition     = alltrue([for member in var.postgres_members : can(cidrhost("${member}/32", 0))])
    error_message = "A member is an IPv4 address."
  }
  validation {
    condition     = length(var.postgres_members) == 0 || contains(local.has, "postgresql") && var.secrets_folder != "" && length(var.peers) > 0
    error_message = "Members are of a host with postgresql, which has peers, and a folder with the secrets that members share."
  }
}

variable "api_url" {
  description = "Where the web API is, when it is on another host: http://192.0.2.21:8000."
  type        = string
  default     = ""

  validation {
    condition     = var.api_url == "" || can(regex("^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", var.api_url))
    error_message = "It is http://HOST:PORT or https://HOST:PORT."
  }
}

variable "haproxy_api" {
  description = "Of a load balancer: the hosts with web-api, host or host:port."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for place in var.haproxy_api : can(regex("^[A-Za-z0-9.-]+(:[0-9]{1,5})?$", place))])
    error_message = "A place is HOST or HOST:PORT."
  }
  validation {
    condition     = length(var.haproxy_api) > 0 || !contains(local.absent, "web-api")
    error_message = "A load balancer needs the API, which is not among the host's components: say where it is."
  }
}

variable "haproxy_notifier" {
  description = "Of a load balancer: the hosts with notifier, host or host:port."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for place in var.haproxy_notifier : can(regex("^[A-Za-z0-9.-]+(:[0-9]{1,5})?$", place))])
    error_message = "A place is HOST or HOST:PORT."
  }
}

variable "haproxy_redis" {
  description = "Of a load balancer: the hosts with redis, host or host:port; port 12000 leads to the one that can be written."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for place in var.haproxy_redis : can(regex("^[A-Za-z0-9.-]+(:[0-9]{1,5})?$", place))])
    error_message = "A place is HOST or HOST:PORT."
  }
}

variable "tls_certificate" {
  description = "Of a load balancer: the path on the host of a file with certificate, chain and key; empty: one of its own."
  type        = string
  default     = ""

  validation {
    condition     = var.tls_certificate == "" || can(regex("^/[A-Za-z0-9/_.-]+$", var.tls_certificate))
    error_message = "It is an absolute path: the certificate's key never stands in user-data."
  }
}

variable "vip" {
  description = "Of keepalived: the virtual IPv4 address."
  type        = string
  default     = ""

  validation {
    condition     = var.vip == "" || can(cidrhost("${var.vip}/32", 0))
    error_message = "It is an IPv4 address."
  }
  validation {
    condition     = var.vip != "" || !contains(var.components, "keepalived")
    error_message = "keepalived needs the virtual address."
  }
}

variable "vip_peers" {
  description = "Of keepalived: the addresses of the other load balancers."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for peer in var.vip_peers : can(cidrhost("${peer}/32", 0))])
    error_message = "A peer is an IPv4 address."
  }
  validation {
    condition     = length(var.vip_peers) > 0 || !contains(var.components, "keepalived")
    error_message = "keepalived needs the other load balancers' addresses."
  }
}

variable "advertise" {
  description = "The host's IPv4 address for phones, trunks and peers; empty: the one the world is reached from."
  type        = string
  default     = ""

  validation {
    condition     = var.advertise == "" || can(cidrhost("${var.advertise}/32", 0))
    error_message = "It is an IPv4 address."
  }
}

variable "peers" {
  description = "The other hosts of the installation, IPv4 addresses or networks: only they reach stores and inner ports."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for peer in var.peers : can(cidrhost(strcontains(peer, "/") ? peer : "${peer}/32", 0))])
    error_message = "A peer is an IPv4 address (192.0.2.11) or a network (192.0.2.0/24)."
  }
}

variable "data_device" {
  description = "An empty block device for the data volume; empty: the device with the label ringdown-data, if any."
  type        = string
  default     = ""

  validation {
    condition     = var.data_device == "" || can(regex("^/dev/[A-Za-z0-9/_.-]+$", var.data_device))
    error_message = "It is a path below /dev."
  }
}

variable "backup_recipient" {
  description = "Of the component backup: the public key (age1...) copies are encrypted for. The host refuses to begin without."
  type        = string
  default     = ""

  validation {
    condition     = var.backup_recipient == "" || can(regex("^age1[a-z0-9]{58}$", var.backup_recipient))
    error_message = "It is a public key of age-keygen (age1...); an identity (AGE-SECRET-KEY-...) does not belong into user-data."
  }
}

variable "backup_folder" {
  description = "Of the component backup: where copies go; empty: /var/backups/ringdown."
  type        = string
  default     = ""

  validation {
    condition     = var.backup_folder == "" || can(regex("^/[A-Za-z0-9/._-]+$", var.backup_folder))
    error_message = "It is an absolute path."
  }
}

variable "secrets_folder" {
  description = "A folder on the host with the secrets that hosts share, brought there by other means; only its name is told."
  type        = string
  default     = ""

  validation {
    condition     = var.secrets_folder == "" || can(regex("^/[A-Za-z0-9/_.-]+$", var.secrets_folder))
    error_message = "It is an absolute path: the secrets themselves never stand in user-data."
  }
}

variable "bundle_path" {
  description = "The bundle's folder, when the image or a volume brings it. The host needs no internet then."
  type        = string
  default     = ""

  validation {
    condition     = var.bundle_path == "" || can(regex("^/[A-Za-z0-9/_.-]+$", var.bundle_path))
    error_message = "It is an absolute path."
  }
  validation {
    condition     = (var.bundle_path == "") != (var.bundle_url == "")
    error_message = "Give bundle_path or bundle_url, and not both."
  }
}

variable "bundle_url" {
  description = "Where the bundle (a .tar of provisioning/bundle --tar) is downloaded from."
  type        = string
  default     = ""

  validation {
    condition     = var.bundle_url == "" || can(regex("^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[A-Za-z0-9/._~+%-]+$", var.bundle_url))
    error_message = "It is http(s)://HOST/PATH, without user, password or query."
  }
}

variable "bundle_sha256" {
  description = "The SHA-256 of the file at bundle_url: the host runs nothing else."
  type        = string
  default     = ""

  validation {
    condition     = (var.bundle_url == "") == (var.bundle_sha256 == "") && can(regex("^([0-9a-f]{64})?$", var.bundle_sha256))
    error_message = "It is 64 hexadecimal digits, and goes with bundle_url."
  }
}

variable "bundle_key" {
  description = "The path on the host of the public key that bundles must be signed with; empty: the key of the first bundle."
  type        = string
  default     = ""

  validation {
    condition     = var.bundle_key == "" || can(regex("^/[A-Za-z0-9/_.-]+$", var.bundle_key))
    error_message = "It is an absolute path."
  }
}

variable "firewall" {
  description = "Whether the host's packet filter lets in only what its components need."
  type        = bool
  default     = true
}

variable "test_call" {
  description = "Whether first boot ends with a test call, where voice is installed."
  type        = bool
  default     = true
}

variable "ssh_authorized_keys" {
  description = "Public keys that may log in as the image's own user."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for key in var.ssh_authorized_keys : can(regex("^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\\n]*)?$", key))])
    error_message = "A public key begins with its kind, like ssh-ed25519; a private key does not belong here."
  }
}

variable "variables" {
  description = "Further variables by name, as first_boot_installer --variables lists them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.variables) : can(regex("^(INSTALL_)?RINGDOWN_[A-Z0-9_]+$", name))])
    error_message = "A name is RINGDOWN_... or INSTALL_RINGDOWN_..."
  }
  validation {
    condition     = alltrue([for name in keys(var.variables) : !can(regex("(PASSWORD|SECRET|TOKEN|_KEY)$", name))])
    error_message = "A secret does not belong into user-data; bring it as a file, and name its folder by secrets_folder."
  }
  validation {
    condition     = alltrue([for value in values(var.variables) : !can(regex("[[:cntrl:]]", value)) && length(value) <= 1024])
    error_message = "A value is one line of at most 1,024 characters."
  }
  validation {
    condition     = alltrue([for value in values(var.variables) : !can(regex("://[^/@]*:[^/@]*@", value))])
    error_message = "A URL has a password in it; a secret does not belong into user-data."
  }
}
