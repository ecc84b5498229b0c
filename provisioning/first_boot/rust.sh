# shellcheck shell=bash
# Where the Rust toolchain is. Sourced by what compiles: first_boot_installer, checkout, packaging/programs, tests/run.

# find_rust TOP: puts cargo into PATH; under sudo the toolchain is often in the caller's home. Says what is wrong and returns 1
# where there is none, or one older than the workspace at TOP needs.
find_rust() {
    local home have need
    for home in "${HOME:-/root}" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)" /usr/local; do
        ! command -v cargo >/dev/null || break
        [ -x "$home/.cargo/bin/cargo" ] || continue
        export PATH=$home/.cargo/bin:$PATH
        [ "$home" = "${HOME:-/root}" ] ||
            export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup} CARGO_HOME=${CARGO_HOME:-${RINGDOWN_CACHE_DIR:-/var/cache/ringdown}/cargo}
    done
    command -v cargo >/dev/null || { echo 'there is no Rust toolchain; get one from https://rustup.rs' >&2 && return 1; }
    have=$(cargo --version | sed 's/cargo \([0-9]*\.[0-9]*\).*/\1/')
    need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$1/Cargo.toml")
    [ "$(printf '%s\n' "$need" "$have" | sort -V | head -n 1)" = "$need" ] ||
        { echo "the Rust toolchain is $have and must be $need or newer: rustup update stable" >&2 && return 1; }
}
