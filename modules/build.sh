#!/bin/sh
# Builds every module for wasm32-unknown-unknown and puts the core wasm files into modules/dist/.
#
# MODELGATE_WASM_TOOLCHAIN=rustup or =debian chooses where the target comes from; without it rustup is tried first.
set -eu
cd "$(dirname "$0")"

target=wasm32-unknown-unknown
packages="tabular predict unruly foreign terrain"
choice=${MODELGATE_WASM_TOOLCHAIN:-}

say() { echo "modules: $*" >&2; }
fail() { say "$*"; exit 1; }

# The target's standard library, downloaded by rustup if it is not there yet. Where the download is refused, it may hang.
rustup_target() {
    command -v rustup >/dev/null || return 1
    rustup target list --installed 2>/dev/null | grep -qx "$target" && return 0
    timeout 60 rustup target add "$target" >/dev/null 2>&1
}

# Debian's compiler comes with the sources of the standard library, from which the target's is built once.
debian_target() {
    rustc=/usr/bin/rustc
    source=/usr/lib/rustlib/src/rust/library
    if ! [ -x "$rustc" ] || ! ls -d /usr/src/rustc-*/library "$source" >/dev/null 2>&1; then
        [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
            fail "rustup cannot add $target here: install the Debian packages rustc-web and rust-web-src, then try again"
        say "installing Debian's rustc-web and rust-web-src, since rustup cannot add $target here"
        apt-get install -y -q rustc-web rust-web-src >/dev/null ||
            fail "apt-get could not install rustc-web and rust-web-src"
    fi
}
