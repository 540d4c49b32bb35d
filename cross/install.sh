#!/bin/sh
# install.sh: installs siskin on a Linux machine with systemd: the binary, the unit, the settings file, two random secrets.
#
#   sh install.sh                     from the folder in which this script lies
#   sh install.sh --from FOLDER       from another folder
#   sh install.sh --from https://...  from a web address; --sum HEX names the checksum of its SHA256SUMS, from a source you trust
#   sh install.sh --uninstall         removes it; the settings, secrets and store stay unless --purge follows
#   DESTDIR=/folder                   installs below a folder, starts nothing; / for a system that doesn't run yet
#
# The folder or address holds SHA256SUMS and siskin-VERSION-TARGET.tar.gz as `make dist` makes them. Nothing is unpacked, and nothing
# of it run, before its checksum is found right.
set -eu

destdir=${DESTDIR:-}
from=$(dirname "$0")
action=install
purge=no
sum=
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --from) from=${2:?--from needs a folder or an address} && shift ;;
    --sum) sum=${2:?--sum needs a checksum} && shift ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) fail "what is $1? See --help" ;;
    esac
    shift
done

binary=$destdir/usr/local/bin/siskin
units=$destdir/etc/systemd/system
settings=$destdir/etc/siskin
store=$destdir/var/lib/siskin
share=$destdir/usr/local/share
# Below it: the manual and the shells' completions.
pages="man/man1/siskin.1 bash-completion/completions/siskin zsh/site-functions/_siskin fish/vendor_completions.d/siskin.fish"

# systemd is told only about the running system.
manages() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

root_is_needed() {
    [ -n "$destdir" ] || [ "$(id -u)" = 0 ] || fail "run it as root: sudo sh $0"
}

target() {
    case $(uname -m) in
    aarch64 | arm64) echo aarch64-unknown-linux-musl ;;
    # armv8l is a 32-bit process on a 64-bit processor.
    armv7* | armv8l) echo armv7-unknown-linux-musleabihf ;;
    x86_64 | amd64) echo x86_64-unknown-linux-musl ;;
    armv6*) fail "this processor is ARMv6 (Pi 1, Pi Zero): siskin needs ARMv7, that is a Pi 2, Pi Zero 2 or newer" ;;
    *) fail "there is no binary for $(uname -m)" ;;
    esac
}

# What the unit needs: LoadCredential came with systemd 247.
systemd_is_needed() {
    [ -z "$destdir" ] || return 0
    [ -d /run/systemd/system ] ||
        fail "systemd doesn't run here. Unpack $from/siskin-*-$target.tar.gz and let your own supervisor run \"siskin serve\", or set DESTDIR"
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 247 ] || fail "systemd 247 or newer is needed (Debian 11, Raspberry Pi OS of 2021), this is ${version:-unknown}"
}

tools_are_needed() {
    missing=
    for tool in sha256sum tar gzip od install mktemp; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    [ -z "$missing" ] || fail "this machine lacks:$missing"
}

# fetch NAME: brings a file into the work folder.
fetch() {
    case $from in
    https://*)
        if command -v curl >/dev/null; then
            curl --proto '=https' --proto-redir '=https' --fail --silent --show-error --location --output "$work/$1" "$from/$1"
        elif command -v wget >/dev/null; then
            # wget follows a redirect to plain http, too. With a sum from elsewhere that does no harm.
            redirects=0
            [ -z "$sum" ] || redirects=5
            wget --max-redirect=$redirects --quiet --output-document="$work/$1" "$from/$1"
        else
            fail "curl or wget is needed to fetch $from/$1"
        fi || fail "$from/$1 can't be fetched"
        ;;
    http://*) fail "only https addresses" ;;
    *) cp "$from/$1" "$work/$1" || fail "there is no $1 in $from" ;;
    esac
}

checksum() { sha256sum "$1" | cut -d' ' -f1; }

secret() {
    [ -e "$settings/credentials/$1" ] && return
    (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$settings/credentials/$1.new")
    mv "$settings/credentials/$1.new" "$settings/credentials/$1"
}

install_it() {
    root_is_needed
    target=$(target)
    systemd_is_needed
    tools_are_needed
    work=$(mktemp -d)
    fetch SHA256SUMS
    [ -z "$sum" ] || [ "$sum" = "$(checksum "$work/SHA256SUMS")" ] || fail "SHA256SUMS is not the one with checksum $sum: nothing was installed"
    # One line: checksum, two spaces, a name with nothing but harmless characters.
    line=$(grep -E "^[0-9a-f]{64}  siskin-[0-9A-Za-z.+-]+-$target\.tar\.gz\$" "$work/SHA256SUMS") || fail "SHA256SUMS names no archive for $target"
    [ "$(printf '%s\n' "$line" | wc -l)" = 1 ] || fail "SHA256SUMS names several archives for $target"
    archive=${line#*  }
    fetch "$archive"
    [ "${line%%  *}" = "$(checksum "$work/$archive")" ] || fail "$archive has a wrong checksum: nothing was installed"

    mkdir "$work/unpacked"
    tar -xzf "$work/$archive" -C "$work/unpacked" --strip-components=1 --no-same-owner
    made=$work/unpacked

    mkdir -p "$(dirname "$binary")" "$units" "$settings"
    [ -d "$settings/credentials" ] || mkdir -m 0700 "$settings/credentials"
    # A running binary can't be written to, but replaced.
    install -m 0755 "$made/siskin" "$binary.new"
    mv "$binary.new" "$binary"
    sed 's#^ExecStart=/usr/bin/siskin#ExecStart=/usr/local/bin/siskin#' "$made/siskin.service" >"$units/siskin.service"
    cp "$made/siskin.socket" "$units/siskin.socket"
    chmod 0644 "$units/siskin.service" "$units/siskin.socket"
    # Somebody may write a secret into it; older versions made it 0644.
    [ -e "$settings/siskin.env" ] || install -m 0640 "$made/siskin.env" "$settings/siskin.env"
    [ "$(stat -c %a "$settings/siskin.env")" != 644 ] || chmod 0640 "$settings/siskin.env"
    secret WEBUI_SECRET_KEY
    secret SISKIN_API_KEY
    for page in $pages; do
        mkdir -p "$share/$(dirname "$page")"
    done
    install -m 0644 "$made/siskin.1" "$share/man/man1/siskin.1"
    install -m 0644 "$made/completions/siskin.bash" "$share/bash-completion/completions/siskin"
    install -m 0644 "$made/completions/siskin.zsh" "$share/zsh/site-functions/_siskin"
    install -m 0644 "$made/completions/siskin.fish" "$share/fish/vendor_completions.d/siskin.fish"

    if manages; then
        systemctl daemon-reload
        systemctl enable --quiet siskin.service
        systemctl restart siskin.service || fail "$archive is installed, but doesn't start: journalctl -u siskin says why"
    fi
    echo "$archive is installed. Settings: /etc/siskin/siskin.env, then: systemctl restart siskin"
}

uninstall_it() {
    root_is_needed
    if manages; then
        systemctl disable --quiet --now siskin.socket siskin.service || true
    fi
    rm -f "$binary" "$units/siskin.service" "$units/siskin.socket"
    for page in $pages; do
        rm -f "$share/$page"
    done
    ! manages || systemctl daemon-reload
    if [ "$purge" = yes ]; then
        rm -rf "$settings" "$destdir/var/lib/private/siskin" "$store"
        echo "siskin is removed, with its settings, secrets and store."
    else
        echo "siskin is removed. Its settings and secrets (/etc/siskin) and its store (/var/lib/siskin) are still there: --purge removes them."
    fi
}

${action}_it
