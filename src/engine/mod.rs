//! Engine.IO v4 (protocol revision 4).
