#!/bin/sh
# Builds every module for wasm32-unknown-unknown and puts the core wasm files into modules/dist/.
#
# The target's standard library comes from rustup or, where rustup cannot have it, from Debian's compiler.
# MODELGATE_WASM_TOOLCHAIN=rustup or =debian decides; without it rustup is tried first.
set -eu
cd "$(dirname "$0")"
# What is built is looked for in target/ here.
unset CARGO_TARGET_DIR

target=wasm32-unknown-unknown
# Names of packages. The last ones are for tests and examples.
modules="tabular predict pool image text unruly foreign terrain"
# Of these, what needs the features of crates that would make the others larger: built apart.
apart="text image"

say() { echo "modules: $*" >&2; }
fail() { say "$*"; exit 1; }

# Downloads the target unless it is there. Where downloads are refused this may hang, hence the time limit.
rustup_target() {
    command -v rustup >/dev/null || return 1
    rustup target list --installed 2>/dev/null | grep -qx "$target" && return 0
    say "downloading the target $target with rustup"
    timeout 60 rustup target add "$target" >/dev/null 2>&1
}

# The sources of the standard library that come with Debian's compiler.
debian_sources() { [ -x /usr/bin/rustc ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]; }

# A linker for WebAssembly: that of a rustup toolchain, or of the Debian package lld.
wasm_linker() {
    for linker in "$(rustc --print sysroot 2>/dev/null)"/lib/rustlib/*/bin/rust-lld /usr/bin/wasm-ld /usr/bin/wasm-ld-*; do
        [ -x "$linker" ] && echo "$linker" && return
    done
    return 1
}

debian_packages() {
    debian_sources && wasm_linker >/dev/null && return
    wanted="rustc-web rust-web-src"
    wasm_linker >/dev/null || wanted="$wanted lld"
    { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } ||
        fail "rustup cannot add the target $target here: install the Debian packages $wanted and try again"
    say "installing the Debian packages $wanted, since rustup cannot add the target $target"
    # shellcheck disable=SC2086 # several words
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted; } >&2 ||
        fail "apt-get could not install $wanted"
}

# Builds the standard library for the target once and prints the sysroot it is in.
debian_sysroot() {
    rustc=/usr/bin/rustc
    version=$($rustc --version | cut -d' ' -f2)
    sysroot=$PWD/target/debian/sysroot-$version
    libraries=$sysroot/lib/rustlib/$target/lib
    if ! [ -e "$sysroot/complete" ]; then
        say "building the standard library for $target with Debian's rustc $version (once, a minute or so)"
        seed=$PWD/target/debian/seed
        # What was built against an earlier one does not go with it.
        rm -rf "$sysroot" "$seed" "target/debian/$target"
        mkdir -p "$seed/src" "$libraries"
        printf '[package]\nname = "seed"\nedition = "2024"\n[workspace]\n[profile.release]\ncodegen-units = 1\n' >"$seed/Cargo.toml"
        echo '#![no_std]' >"$seed/src/lib.rs"
        # Building it is an unstable feature of cargo, which RUSTC_BOOTSTRAP allows. The bitcode is for the modules' LTO.
        RUSTC=$rustc RUSTC_BOOTSTRAP=1 cargo build --quiet --release -Zbuild-std=std,panic_abort --target "$target" \
            --config "target.$target.rustflags=['-Cembed-bitcode=yes']" \
            --manifest-path "$seed/Cargo.toml" --target-dir "$seed/target" >&2 ||
            fail "the standard library for $target could not be built with Debian's rustc"
        rm -f "$seed/target/$target/release/deps"/libseed-*
        cp "$seed/target/$target/release/deps"/*.rlib "$libraries"
        rm -rf "$seed"
        touch "$sysroot/complete"
    fi
    echo "$sysroot"
}

command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"

toolchain=${MODELGATE_WASM_TOOLCHAIN:-}
case $toolchain in
"") if rustup_target; then toolchain=rustup; else toolchain=debian; fi ;;
rustup) rustup_target || fail "rustup is missing or cannot add the target $target" ;;
debian) ;;
*) fail "MODELGATE_WASM_TOOLCHAIN is $toolchain: expected rustup or debian" ;;
esac

# `set --` holds the arguments for cargo.
set -- build --release --locked --target "$target"
if [ "$toolchain" = rustup ]; then
    out=target
    say "building $modules with rustup's target $target"
else
    debian_packages
    sysroot=$(debian_sysroot)
    out=target/debian
    say "building $modules with Debian's rustc, since rustup has no target $target here (or is told not to be used)"
    export RUSTC=/usr/bin/rustc
    set -- "$@" --target-dir "$out" --config "target.$target.linker='$(wasm_linker)'" \
        --config "target.$target.rustflags=['--sysroot', '$sysroot']"
fi
# packages EXCEPT...: the other modules as arguments for cargo.
packages() {
    for module in $modules; do
        case " $* " in *" $module "*) ;; *) echo "--package $module" ;; esac
    done
}
# shellcheck disable=SC2046,SC2086 # several words
cargo "$@" $(packages $apart)
# shellcheck disable=SC2046 # several words
for module in $apart; do cargo "$@" --package "$module"; done

# What is the same keeps its time stamp, so that nothing built from it is built again.
mkdir -p dist
for module in $modules; do
    built=$out/$target/release/$module.wasm
    cmp -s "$built" "dist/$module.wasm" || cp "$built" "dist/$module.wasm"
done
