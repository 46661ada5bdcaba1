//! The neutral core: what protocols tell of a session, and the legs that carry it. Knows no SIP and no SDP.
