#!/bin/sh
# first-boot.sh: runs once instead of systemd, in the machine: configures the packages, makes the user pi with sudo as Raspberry Pi OS has it.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
mount -o remount,rw /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
trap 'sync; poweroff -f' EXIT
set -e

# These first, as the scripts of the others need what they make.
for package in base-passwd libc6 mawk base-files dash; do
  dpkg --configure --force-depends "$package"
done
dpkg --configure -a

echo raspberrypi >/etc/hostname
echo "127.0.0.1 localhost raspberrypi" >/etc/hosts
echo "LABEL=card / ext4 defaults,noatime 0 1" >/etc/fstab
printf '[Match]\nName=e* usb*\n[Network]\nDHCP=yes\n' >/etc/systemd/network/10-wired.network
systemctl enable systemd-networkd
useradd --create-home --shell /bin/bash --groups sudo pi
echo "pi ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/010_pi-nopasswd
install -d -o pi -g pi -m 700 /home/pi/.ssh
install -o pi -g pi -m 600 /first-boot.pub /home/pi/.ssh/authorized_keys
rm -rf /first-boot.* /debootstrap
echo "first boot is over"
