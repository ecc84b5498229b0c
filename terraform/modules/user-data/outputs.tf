output "user_data" {
  description = "cloud-config for the host; no secret is in it."
  value       = local.user_data

  # cloud-init passes unknown keys at the top in silence, so they are compared with what is meant.
  precondition {
    condition     = length(setsubtract(keys(yamldecode(local.user_data)), ["locale", "ssh_authorized_keys", "write_files"])) == 0
    error_message = "The template writes a top-level key that is not meant."
  }
  # The smallest limit of the clouds in examples/ (AWS).
  precondition {
    condition     = length(local.user_data) <= 16384
    error_message = "User-data is larger than 16 KiB; give fewer variables."
  }
}
