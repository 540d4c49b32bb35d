#!/usr/bin/env bash
# image.sh FOLDER: makes the emulated Pi's card and kernel in FOLDER: Debian's arm64 with systemd, as root and once; prints nothing when they are there.
#
# No foreign program runs here: debootstrap fetches, unpack.py unpacks, and the machine itself configures the packages when it is booted the first time. The
# initrd is a busybox with the modules of a Pi's card and network and of virtio's; the kernel, with its device tree, and all else are Debian's.
set -euo pipefail
siskin=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${1:?usage: tests/pi/image.sh FOLDER}"
cd "$1"
[ ! -f card.raw ] || exit 0
say() { echo "image.sh: $*" >&2; }
[ "$(id -u)" = 0 ] || { say "run it as root: the card's files are root's" && exit 1; }

# Only what is missing: with another version of something that is there, all of them together may not be had.
missing=()
for tool in debootstrap:debootstrap cpio:cpio modprobe:kmod qemu-system-aarch64:qemu-system-arm ssh:openssh-client mke2fs:e2fsprogs; do
  command -v "${tool%:*}" >/dev/null || missing+=("${tool#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  apt-get -qq update && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

packages=systemd-sysv,libpam-systemd,dbus,udev,kmod,openssh-server,sudo,curl,iproute2
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
say "unpacking Debian $suite for arm64"
rm -rf --one-file-system root kernel initrd.d
debootstrap --arch=arm64 --foreign --variant=minbase --include=$packages "$suite" root >debootstrap.log
# In a container debootstrap makes links of what can't be mounted there.
for folder in proc sys; do
  [ ! -L "root/$folder" ] || { rm "root/$folder" && mkdir "root/$folder"; }
done
python3 "$siskin/tests/pi/unpack.py" root
kernel=$(debootstrap --arch=arm64 --print-debs --variant=minbase --include=linux-image-arm64 "$suite" names 2>/dev/null | grep -oE 'linux-image-[0-9]\S+' | sort -u)
bash "$siskin/cross/fetch-deb.sh" "$kernel busybox-static" arm64 "$PWD/kernel"
version=${kernel#linux-image-}
cp "kernel/boot/vmlinuz-$version" Image
cp "kernel/usr/lib/linux-image-$version/broadcom/bcm2837-rpi-3-b.dtb" .

say "making the initrd of $version"
depmod -b kernel "$version"
mkdir -p initrd.d/bin initrd.d/modules
cp kernel/bin/busybox initrd.d/bin/
number=100
for module in ext4 bcm2835 sdhci_iproc dwc2 phy_generic cdc_ether rndis_host virtio_mmio virtio_pci virtio_blk virtio_net rng_core bcm2835_wdt bcm2835_rng virtio_rng autofs4; do
  modprobe -d "$PWD/kernel" -S "$version" --show-depends "$module" 2>/dev/null | while read -r word file _; do
    [ "$word" != insmod ] || [ -n "$(find initrd.d/modules -name "*-${file##*/}")" ] || echo "$file"
  done >list
  while read -r file; do
    number=$((number + 1))
    cp "$file" "initrd.d/modules/$number-${file##*/}"
  done <list
done
cp "$siskin/tests/pi/initrd.sh" initrd.d/init
chmod 755 initrd.d/init
(cd initrd.d && find . | cpio --quiet -o -H newc) | gzip -1 >initrd

say "making the card"
[ -f key ] || ssh-keygen -q -t ed25519 -N '' -C pi -f key
cp key.pub root/first-boot.pub
install -m755 "$siskin/tests/pi/first-boot.sh" root/first-boot.sh
rm -f card.new
truncate -s 2G card.new
mke2fs -q -t ext4 -L card -d root card.new
say "configuring the packages in the machine (minutes; $PWD/first-boot.log)"
timeout 3600 qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 1G -nographic -no-reboot -nic none -kernel Image -initrd initrd \
  -drive if=none,id=card,format=raw,cache=unsafe,file=card.new -device virtio-blk-device,drive=card \
  -append "console=ttyAMA0 root=/dev/vda quiet init=/first-boot.sh" </dev/null >first-boot.log
grep -q "^first boot is over" first-boot.log || { tail -30 first-boot.log >&2 && exit 1; }
# Its journal, too, is on the card.
e2fsck -fy card.new >>first-boot.log || [ $? = 1 ]
# Whole or not at all.
mv card.new card.raw
rm -rf --one-file-system root kernel initrd.d list
