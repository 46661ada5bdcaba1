//! Session descriptions, line-preserving (RFC 4566, RFC 3264).
