//! Who is who and what they may see.
