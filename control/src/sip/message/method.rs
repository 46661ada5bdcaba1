//! Methods, transports and reason phrases: rsip's closed sets, opened for what rsip refuses.

use std::fmt;

/// A request method. Method names are case-sensitive (RFC 3261 section 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// A method that rsip knows.
    Known(rsip::Method),
    /// Any other token, as written.
    Other(String),
}

impl Method {
    /// `INVITE`
    pub const INVITE: Self = Self::Known(rsip::Method::Invite);
    /// `ACK`
    pub const ACK: Self = Self::Known(rsip::Method::Ack);
    /// `BYE`
    pub const BYE: Self = Self::Known(rsip::Method::Bye);
    /// `CANCEL`
    pub const CANCEL: Self = Self::Known(rsip::Method::Cancel);
    /// `OPTIONS`
    pub const OPTIONS: Self = Self::Known(rsip::Method::Options);
    /// `REGISTER`
    pub const REGISTER: Self = Self::Known(rsip::Method::Register);
    /// `MESSAGE`
    pub const MESSAGE: Self = Self::Known(rsip::Method::Message);
    /// `INFO`
    pub const INFO: Self = Self::Known(rsip::Method::Info);
    /// `UPDATE`
    pub const UPDATE: Self = Self::Known(rsip::Method::Update);
    /// `PRACK`
    pub const PRACK: Self = Self::Known(rsip::Method::PRack);
    /// `NOTIFY`
    pub const NOTIFY: Self = Self::Known(rsip::Method::Notify);
    /// `SUBSCRIBE`
    pub const SUBSCRIBE: Self = Self::Known(rsip::Method::Subscribe);
    /// `REFER`
    pub const REFER: Self = Self::Known(rsip::Method::Refer);

    /// Reads a method token; `None` when it is empty or has a byte that a token may not have.
    #[must_use]
    pub fn parse(token: &[u8]) -> Option<Self> {
        if !super::grammar::is_token(token) {
            return None;
        }
        let token = std::str::from_utf8(token).ok()?;
        // rsip ignores case, SIP does not: `invite` is another method than `INVITE`.
        match token.parse::<rsip::Method>() {
            Ok(known) if known.to_string() == token => Some(Self::Known(known)),
            _ => Some(Self::Other(token.to_owned())),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(method) => write!(f, "{method}"),
            Self::Other(token) => f.write_str(token),
        }
    }
}

/// The transport in a Via field. Compared without case (RFC 3261 section 20.42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A transport that rsip knows.
    Known(rsip::Transport),
    /// Any other token, as written.
    Other(String),
}

impl Transport {
    /// `UDP`
    pub const UDP: Self = Self::Known(rsip::Transport::Udp);
    /// `TCP`
    pub const TCP: Self = Self::Known(rsip::Transport::Tcp);

    /// Reads a transport token; `None` when it is no token.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        if !super::grammar::is_token(token.as_bytes()) {
            return None;
        }
        Some(token.parse().map_or_else(|_| Self::Other(token.to_owned()), Self::Known))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(transport) => write!(f, "{transport}"),
            Self::Other(token) => f.write_str(token),
        }
    }
}

/// The usual phrase for a status code, from rsip's table: `404` is "Not Found". Unknown codes get the phrase of their
/// class (RFC 3261 section 8.1.3.2: treat as x00).
#[must_use]
pub fn reason_phrase(code: u16) -> String {
    let name = match rsip::StatusCode::from(code) {
        rsip::StatusCode::Other(..) => class_name(code).to_owned(),
        known => known.to_string().split_once(' ').map(|(_, name)| name.to_owned()).unwrap_or_default(),
    };
    let mut phrase = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_small {
            phrase.push(' ');
        }
        after_small = letter.is_ascii_lowercase();
        phrase.push(letter);
    }
    phrase
}

fn class_name(code: u16) -> &'static str {
    match code / 100 {
        1 => "SessionProgress",
        2 => "OK",
        3 => "MultipleChoices",
        4 => "BadRequest",
        5 => "ServerInternalError",
        _ => "GlobalFailure",
    }
}

#[cfg(test)]
mod tests {
    use super::{Method, Transport, reason_phrase};

    #[test]
    fn known_methods_are_rsips_and_unknown_ones_are_kept() {
        assert_eq!(Method::parse(b"INVITE"), Some(Method::INVITE));
        assert_eq!(Method::parse(b"PRACK"), Some(Method::PRACK));
        assert_eq!(Method::parse(b"invite"), Some(Method::Other("invite".into())));
        assert_eq!(
            Method::parse(b"!interesting-Method0123456789_*+`.%indeed'~").unwrap().to_string().len(),
            43
        );
        assert_eq!(Method::parse(b""), None);
        assert_eq!(Method::parse(b"IN VITE"), None);
    }

    #[test]
    fn transports_ignore_case() {
        assert_eq!(Transport::parse("udp"), Some(Transport::UDP));
        assert_eq!(Transport::parse("UNKNOWN"), Some(Transport::Other("UNKNOWN".into())));
    }

    #[test]
    fn reason_phrases_are_spaced_words() {
        assert_eq!(reason_phrase(200), "OK");
        assert_eq!(reason_phrase(404), "Not Found");
        assert_eq!(reason_phrase(481), "Call Transaction Does Not Exist");
        assert_eq!(reason_phrase(499), "Bad Request");
    }
}
