//! Digest authentication (RFC 7616, RFC 2617, RFC 8760).
