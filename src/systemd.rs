//! sd_notify, watchdog and socket activation.
