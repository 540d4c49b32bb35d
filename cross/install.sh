#!/bin/sh
# install.sh: installs siskin on a Linux machine: the binary, the service of its init system (systemd, OpenRC, procd or runit), the
# settings file, two random secrets.
#
#   sh install.sh                     from the folder in which this script lies
#   sh install.sh --from FOLDER       from another folder
#   sh install.sh --from https://...  from a web address; --sum HEX names the checksum of its SHA256SUMS, from a source you trust
#   sh install.sh --uninstall         removes it; the settings, secrets and store stay unless --purge follows
#   --init NAME                       systemd, openrc, procd or runit instead of the one that runs here
#   DESTDIR=/folder                   installs below a folder, starts nothing; / for a system that doesn't run yet. Without systemd its
#                                     user and group siskin are yours to make, and the group's to read /etc/siskin/credentials
#
# The folder or address holds SHA256SUMS and siskin-VERSION-TARGET.tar.gz as `make dist` makes them. Nothing is unpacked, and nothing
# of it run, before its checksum is found right.
set -eu

destdir=${DESTDIR:-}
from=$(dirname "$0")
action=install
purge=no
init=
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
    --init) init=${2:?--init needs a name} && shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) fail "what is $1? See --help" ;;
    esac
    shift
done

settings=$destdir/etc/siskin
store=$destdir/var/lib/siskin

# What runs the services of this machine; below another folder systemd does, unless somebody says otherwise.
init_system() {
    if [ -n "$init" ]; then
        echo "$init"
    elif [ -n "$destdir" ] || [ -d /run/systemd/system ]; then
        echo systemd
    elif [ -x /sbin/procd ]; then
        echo procd
    elif [ -d /run/openrc ] || command -v openrc-run >/dev/null; then
        echo openrc
    elif [ -d /run/runit ] || [ -d /etc/runit ]; then
        echo runit
    else
        echo none
    fi
}

# Where the parts of an installation are.
places() {
    init=$(init_system)
    prefix=/usr/local
    pages="man/man1/siskin.1 bash-completion/completions/siskin zsh/site-functions/_siskin fish/vendor_completions.d/siskin.fish"
    case $init in
    systemd) service="$destdir/etc/systemd/system/siskin.service $destdir/etc/systemd/system/siskin.socket" ;;
    openrc) service="$destdir/etc/init.d/siskin $destdir/etc/conf.d/siskin" ;;
    # OpenWrt looks for programs in /usr alone and has no manual; what is in its /var is gone with the power.
    procd)
        service=$destdir/etc/init.d/siskin
        prefix=/usr pages='' store=$destdir/srv/siskin
        ;;
    runit)
        service=$destdir/etc/sv/siskin
        # Where the services that are to run are named: Void, Debian, others.
        for links in /var/service /etc/service /service; do
            [ ! -d "$destdir$links" ] || break
        done
        link=$destdir$links/siskin
        ;;
    none) fail "no init system that it knows runs here. Unpack $from/siskin-*-$target.tar.gz and let your own supervisor run \"siskin serve\", or name one with --init" ;;
    *) fail "there is no service for $init: systemd, openrc, procd or runit" ;;
    esac
    binary=$destdir$prefix/bin/siskin
    run=$destdir$prefix/lib/siskin/run
    share=$destdir$prefix/share
}

# The running system is told, another one not.
manages() { [ -z "$destdir" ]; }

root_is_needed() {
    [ -n "$destdir" ] || [ "$(id -u)" = 0 ] || fail "run it as root: sudo sh $0"
}

target() {
    case $(uname -m) in
    aarch64 | arm64) echo aarch64-unknown-linux-musl ;;
    # armv8l is a 32-bit process on a 64-bit processor.
    armv7* | armv8l) echo armv7-unknown-linux-musleabihf ;;
    x86_64 | amd64) echo x86_64-unknown-linux-musl ;;
    armv6*) echo arm-unknown-linux-musleabihf ;;
    riscv64) echo riscv64gc-unknown-linux-musl ;;
    *) fail "there is no binary for $(uname -m)" ;;
    esac
}

# What the unit needs: LoadCredential came with systemd 247.
systemd_is_new() {
    [ -z "$destdir" ] && [ "$init" = systemd ] || return 0
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 247 ] || fail "systemd 247 or newer is needed (Debian 11, Raspberry Pi OS of 2021), this is ${version:-unknown}"
}

tools_are_needed() {
    missing=
    for tool in sha256sum tar gzip mktemp; do
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

# copy MODE FILE PLACE: whole or not at all, since a running binary can't be written to, but replaced.
copy() {
    mkdir -p "$(dirname "$3")"
    sed "s#/usr/bin/siskin#$prefix/bin/siskin#g; s#/usr/lib/siskin/#$prefix/lib/siskin/#g" "$made/$2" >"$3.new"
    place "$1" "$3"
}

place() {
    chmod "$1" "$2.new"
    mv "$2.new" "$2"
}

secret() {
    # An empty one is none: its writing was cut off.
    [ ! -s "$settings/credentials/$1" ] || return 0
    (umask 077 && LC_ALL=C tr -dc 0-9a-f </dev/urandom | head -c 64 >"$settings/credentials/$1.new")
    [ -s "$settings/credentials/$1.new" ] || fail "no secret can be made from /dev/urandom"
    mv "$settings/credentials/$1.new" "$settings/credentials/$1"
}

# A user of its own, where systemd doesn't make one each time; it may read the secrets.
user() {
    manages && [ "$init" != systemd ] || return 0
    if ! grep -q '^siskin:' /etc/passwd; then
        if command -v useradd >/dev/null; then
            useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin siskin
        elif command -v adduser >/dev/null; then
            addgroup -S siskin
            adduser -S -D -H -h /nonexistent -s /sbin/nologin -G siskin siskin
        else
            id=833
            while grep -q ":$id:" /etc/passwd /etc/group; do id=$((id + 1)); done
            echo "siskin:x:$id:" >>/etc/group
            echo "siskin:x:$id:$id:siskin:/nonexistent:/bin/false" >>/etc/passwd
            [ ! -e /etc/shadow ] || echo "siskin:*:::::::" >>/etc/shadow
        fi
    fi
    chown root:siskin "$settings/siskin.env"
    chown -R root:siskin "$settings/credentials"
    chmod 0750 "$settings/credentials"
    chmod 0640 "$settings/credentials"/*
}

no_user() {
    manages && [ "$init" != systemd ] && grep -q '^siskin:' /etc/passwd || return 0
    if command -v userdel >/dev/null; then
        userdel siskin
    elif command -v deluser >/dev/null; then
        deluser siskin
    else
        for file in passwd group shadow; do
            [ ! -e "/etc/$file" ] || sed -i '/^siskin:/d' "/etc/$file"
        done
    fi
}

# The files of the service, and how it is started, at every boot, too.
service() {
    case $init in
    systemd)
        copy 0644 siskin.service "$destdir/etc/systemd/system/siskin.service"
        copy 0644 siskin.socket "$destdir/etc/systemd/system/siskin.socket"
        ;;
    openrc)
        copy 0755 init/openrc "$destdir/etc/init.d/siskin"
        [ -e "$destdir/etc/conf.d/siskin" ] || copy 0644 init/openrc.conf "$destdir/etc/conf.d/siskin"
        ;;
    procd) copy 0755 init/procd "$destdir/etc/init.d/siskin" ;;
    runit)
        for file in run finish log/run; do
            copy 0755 "init/runit/$file" "$destdir/etc/sv/siskin/$file"
        done
        ;;
    esac
    copy 0755 init/run "$run"
}

start() {
    why="see the system's log"
    case $init in
    systemd)
        why="journalctl -u siskin says why"
        systemctl daemon-reload
        systemctl enable --quiet siskin.service
        systemctl restart siskin.service
        ;;
    openrc)
        rc-update -q add siskin default
        rc-service siskin restart
        ;;
    procd)
        /etc/init.d/siskin enable
        /etc/init.d/siskin restart
        ;;
    runit)
        why="/var/log/siskin/current says why"
        if [ -e "$link" ]; then
            sv restart siskin >/dev/null
        else
            ln -s /etc/sv/siskin "$link"
        fi
        ;;
    esac
}

stop() {
    case $init in
    systemd) systemctl disable --quiet --now siskin.socket siskin.service ;;
    openrc) rc-service -q -i siskin stop && rc-update -q del siskin ;;
    procd) /etc/init.d/siskin stop && /etc/init.d/siskin disable ;;
    runit)
        rm -f "$link"
        # runsvdir looks every five seconds which services are named; this ends both now.
        sv force-shutdown /etc/sv/siskin >/dev/null && sv exit /etc/sv/siskin/log
        ;;
    esac
}

install_it() {
    root_is_needed
    target=$(target)
    places
    systemd_is_new
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
    tar -xzf "$work/$archive" -C "$work/unpacked"
    made=$work/unpacked/${archive%.tar.gz}

    mkdir -p "$(dirname "$binary")" "$settings"
    [ -d "$settings/credentials" ] || mkdir -m 0700 "$settings/credentials"
    cp "$made/siskin" "$binary.new"
    place 0755 "$binary"
    # Somebody may write a secret into it; older versions made it 0644.
    [ -e "$settings/siskin.env" ] || copy 0640 siskin.env "$settings/siskin.env"
    case $(ls -l "$settings/siskin.env") in -rw-r--r--*) chmod 0640 "$settings/siskin.env" ;; esac
    secret WEBUI_SECRET_KEY
    secret SISKIN_API_KEY
    user
    service
    for page in $pages; do
        case $page in
        man/*) copy 0644 siskin.1 "$share/$page" ;;
        *) shell=${page%%[-/]*} && copy 0644 "completions/siskin.$shell" "$share/$page" ;;
        esac
    done

    ! manages || start || fail "$archive is installed, but doesn't start: $why"
    case $init in
    systemd) again="systemctl restart siskin" ;;
    openrc) again="rc-service siskin restart" ;;
    procd) again="service siskin restart" ;;
    runit) again="sv restart siskin" ;;
    esac
    echo "$archive is installed. Settings: /etc/siskin/siskin.env, then: $again"
}

uninstall_it() {
    root_is_needed
    target=any
    places
    ! manages || stop || true
    [ "$init" != openrc ] || [ "$purge" = yes ] || service=$destdir/etc/init.d/siskin
    # The names hold no space.
    # shellcheck disable=SC2086
    rm -rf $service "$binary" "$(dirname "$run")" "$destdir/run/private/siskin" "$destdir/run/siskin"
    for page in $pages; do
        rm -f "$share/$page"
    done
    [ "$init" != systemd ] || ! manages || systemctl daemon-reload
    if [ "$purge" = yes ]; then
        rm -rf "$settings" "$destdir/var/lib/private/siskin" "$store" "$destdir/var/log/siskin"
        no_user
        echo "siskin is removed, with its settings, secrets and store."
    else
        echo "siskin is removed. Its settings and secrets (/etc/siskin) and its store (${store#"$destdir"}) are still there: --purge removes them."
    fi
}

${action}_it
