//! One place that connects to Redis.
