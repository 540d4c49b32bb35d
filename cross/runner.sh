#!/usr/bin/env bash
# runner.sh TARGET: prints what must stand before a binary of this target to run it here: nothing, or qemu.
set -euo pipefail
case ${1:?usage: cross/runner.sh TARGET}:$(uname -m) in
x86_64-*:x86_64 | aarch64-*:aarch64 | armv7-*:armv7l | arm-*:armv[67]l | riscv64gc-*:riscv64) ;;
x86_64-*) echo qemu-x86_64-static ;;
aarch64-*) echo qemu-aarch64-static -cpu cortex-a53 ;;
# Any ARMv7 will do, also one without NEON.
armv7-*) echo qemu-arm-static -cpu cortex-a7,neon=off ;;
# That of a Pi 1 or Zero.
arm-*) echo qemu-arm-static -cpu arm1176 ;;
riscv64gc-*) echo qemu-riscv64-static ;;
esac
