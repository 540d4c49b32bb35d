#!/bin/busybox sh
# initrd.sh: what the kernel starts first: loads the modules, mounts the card that root= names, hands over to its init=.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /card
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do
  insmod "$module" 2>/dev/null
done
init=/sbin/init
for word in $(cat /proc/cmdline); do
  case $word in root=*) card=${word#*=} ;; init=*) init=${word#*=} ;; esac
done
# A card is found when it is found.
for _ in $(seq 600); do
  [ ! -b "$card" ] || break
  sleep 0.1
done
mount -t ext4 -o ro "$card" /card || { echo "there is no card $card" && poweroff -f; }
umount /proc /sys
mount --move /dev /card/dev
exec switch_root /card "$init"
