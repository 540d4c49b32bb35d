//! One log line a thing worth knowing, on stderr.
