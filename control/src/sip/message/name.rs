//! The names of SIP header fields that this project reads or writes, with their compact forms (RFC 3261 section
//! 7.3.3 and the IANA registry). It must not know what the values of these fields look like.

use std::fmt;

macro_rules! header_names {
    ($($variant:ident = $canonical:literal $(, $compact:literal)? ;)*) => {
        /// A header field name that has a meaning here. Every other field is kept too, but is found by its text
        /// ([`super::Headers::other`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum HeaderName {
            $(
                #[doc = concat!("`", $canonical, "`")]
                $variant,
            )*
        }

        impl HeaderName {
            /// Every known name.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The long form, spelt as the defining RFC spells it.
            #[must_use]
            pub fn canonical(self) -> &'static str {
                match self {
                    $(Self::$variant => $canonical,)*
                }
            }

            /// The one-letter form, where the name has one.
            #[must_use]
            pub fn compact(self) -> Option<&'static str> {
                match self {
                    $($(Self::$variant => Some($compact),)?)*
                    _ => None,
                }
            }

            /// Recognises a long or compact name, whatever its case. `None` for a name that is not in this table.
            #[must_use]
            pub fn from_bytes(name: &[u8]) -> Option<Self> {
                $($(
                    if name.eq_ignore_ascii_case($compact.as_bytes()) {
                        return Some(Self::$variant);
                    }
                )?)*
                $(
                    if name.eq_ignore_ascii_case($canonical.as_bytes()) {
                        return Some(Self::$variant);
                    }
                )*
                None
            }
        }
    };
}

header_names! {
    Via = "Via", "v";
    From = "From", "f";
    To = "To", "t";
    CallId = "Call-ID", "i";
    CSeq = "CSeq";
    Contact = "Contact", "m";
    MaxForwards = "Max-Forwards";
    ContentLength = "Content-Length", "l";
    ContentType = "Content-Type", "c";
    ContentEncoding = "Content-Encoding", "e";
    ContentDisposition = "Content-Disposition";
    Expires = "Expires";
    MinExpires = "Min-Expires";
    Route = "Route";
    RecordRoute = "Record-Route";
    Path = "Path";
    Supported = "Supported", "k";
    Require = "Require";
    ProxyRequire = "Proxy-Require";
    Unsupported = "Unsupported";
    Allow = "Allow";
    Accept = "Accept";
    Event = "Event", "o";
    AllowEvents = "Allow-Events", "u";
    SubscriptionState = "Subscription-State";
    SessionExpires = "Session-Expires", "x";
    MinSe = "Min-SE";
    Authorization = "Authorization";
    WwwAuthenticate = "WWW-Authenticate";
    ProxyAuthorization = "Proxy-Authorization";
    ProxyAuthenticate = "Proxy-Authenticate";
    ReferTo = "Refer-To", "r";
    ReferredBy = "Referred-By", "b";
    Subject = "Subject", "s";
    Date = "Date";
    Timestamp = "Timestamp";
    UserAgent = "User-Agent";
    Server = "Server";
    Reason = "Reason";
    Warning = "Warning";
    RetryAfter = "Retry-After";
    RSeq = "RSeq";
    RAck = "RAck";
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderName;

    #[test]
    fn every_name_is_recognised_long_compact_and_in_any_case() {
        for &name in HeaderName::ALL {
            let canonical = name.canonical();
            assert_eq!(HeaderName::from_bytes(canonical.as_bytes()), Some(name));
            assert_eq!(HeaderName::from_bytes(canonical.to_uppercase().as_bytes()), Some(name));
            if let Some(compact) = name.compact() {
                assert_eq!(HeaderName::from_bytes(compact.as_bytes()), Some(name));
                assert_eq!(HeaderName::from_bytes(compact.to_uppercase().as_bytes()), Some(name));
            }
        }
        assert_eq!(HeaderName::from_bytes(b"X-GB-Ver"), None);
    }
}
