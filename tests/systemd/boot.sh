#!/usr/bin/env bash
# boot.sh FOLDER: boots a real systemd over a throw-away copy of this machine's file system, runs FOLDER/payload/inside.sh there as root,
# and leaves what it said in FOLDER/said and its exit code in FOLDER/code. Nothing outside FOLDER is changed.
# With a FOLDER/system, what is in it lies over that file system, and its /boot.sh is started instead of systemd.
# Call it as root: unshare --mount --pid --fork --ipc --uts --net --cgroup --kill-child=KILL bash boot.sh FOLDER
set -euo pipefail
folder=$1
# Inside there is a /tmp of its own.
unset TMPDIR
mount --make-rprivate /
mount -t tmpfs none "$folder"/layers
mkdir "$folder"/layers/{upper,work,root}
root=$folder/layers/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/layers/upper,workdir=$folder/layers/work" "$root"
cp -r "$folder/payload" "$root/root/payload"
[ ! -d "$folder/system" ] || tar -C "$folder/system" -c . | tar -C "$root" -x --keep-directory-symlink
ip link set lo up 2>/dev/null || true

cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/shm dev/pts dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
: >dev/console

# Only the journal is wanted; nothing may touch the kernel that this machine shares with it.
rm -f etc/systemd/system/*.wants/*
for unit in systemd-sysctl systemd-modules-load systemd-udevd systemd-udev-trigger systemd-timesyncd systemd-remount-fs \
  systemd-binfmt systemd-random-seed systemd-update-utmp systemd-tmpfiles-setup-dev kmod-static-nodes modprobe@ \
  systemd-networkd systemd-resolved systemd-logind systemd-pstore networking; do
  ln -sf /dev/null "etc/systemd/system/$unit.service"
done
for unit in sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount dev-mqueue.mount \
  sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount; do
  ln -sf /dev/null "etc/systemd/system/$unit"
done

mkdir mnt/host mnt/out
mount --bind "$folder" mnt/out
pivot_root . mnt/host
umount -l /mnt/host
# As a systemd that booted a machine has it: the mounts of one process are seen by the others.
mount --make-rshared /
inside() {
  local code=0
  bash /root/payload/inside.sh >/mnt/out/said 2>&1 || code=$?
  echo "$code" >/mnt/out/code
}
clean="env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin"
if [ -f /boot.sh ]; then
  $clean sh /boot.sh >/mnt/out/boot.log 2>&1
  inside
  exit
fi
(
  for _ in $(seq 300); do
    systemctl is-active --quiet sysinit.target 2>/dev/null && break
    sleep 0.1
  done
  inside
) &
exec $clean /lib/systemd/systemd --system --log-level=warning --unit=sysinit.target
