//! The arithmetic of digests (RFC 7616 section 3.4). Texts are hashed as they were sent: the nonce count as its letters,
//! the URI as its bytes. It must not know nonces or accounts.

use std::fmt;

use md5::{Digest, Md5};
use sha2::Sha256;
use sm3::Sm3;

use super::super::message::{AuthParams, Method};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD5: broken as a hash, but what most terminals speak.
    Md5,
    /// SHA-256.
    Sha256,
    /// SM3 (GB/T 32905), which GB/T 28181-2022 section 8.3 recommends.
    Sm3,
}

impl Hash {
    fn hex(self, text: &str) -> String {
        match self {
            Self::Md5 => to_hex(&Md5::digest(text)),
            Self::Sha256 => to_hex(&Sha256::digest(text)),
            Self::Sm3 => to_hex(&Sm3::digest(text)),
        }
    }
}

/// An algorithm as `algorithm=` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`
    Md5,
    /// `MD5-sess`
    Md5Sess,
    /// `SHA-256`
    Sha256,
    /// `SHA-256-sess`
    Sha256Sess,
    /// `SM3`
    Sm3,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Md5, Self::Md5Sess, Self::Sha256, Self::Sha256Sess, Self::Sm3];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sm3 => "SM3",
        }
    }

    /// Recognises a name, whatever its case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The hash function.
    #[must_use]
    pub fn hash(self) -> Hash {
        match self {
            Self::Md5 | Self::Md5Sess => Hash::Md5,
            Self::Sha256 | Self::Sha256Sess => Hash::Sha256,
            Self::Sm3 => Hash::Sm3,
        }
    }

    fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess)
    }
}

/// What a user proves itself with. Never printed.
#[derive(Clone)]
pub enum Secret {
    /// The password.
    Password(String),
    /// Hash of `user:realm:password` in hexadecimal: only algorithms of this hash can be checked with it.
    Ha1 {
        /// The hash function.
        hash: Hash,
        /// Its result.
        hex: String,
    },
}

impl Secret {
    fn ha1(&self, hash: Hash, user: &str, realm: &str) -> Option<String> {
        match self {
            Self::Password(password) => Some(hash.hex(&format!("{user}:{realm}:{password}"))),
            Self::Ha1 { hash: stored, hex } => (*stored == hash).then(|| hex.to_ascii_lowercase()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Ha1 { .. } => "Ha1(…)",
        })
    }
}

/// What credentials claim.
pub(super) struct Claim {
    pub(super) user: String,
    pub(super) nonce: String,
    pub(super) algorithm: Algorithm,
    pub(super) qop: Option<Qop>,
    /// In lower case.
    pub(super) response: String,
    uri: String,
    cnonce: Option<String>,
}

/// `qop=auth` and what comes with it.
pub(super) struct Qop {
    pub(super) count: u32,
    count_text: String,
}

impl Claim {
    /// Reads credentials; the error is the parameter that is absent or wrong.
    pub(super) fn read(field: &AuthParams) -> Result<Self, &'static str> {
        let algorithm = match field.value("algorithm") {
            Some(name) => Algorithm::from_name(&name).ok_or("algorithm")?,
            None => Algorithm::Md5,
        };
        let cnonce = field.value("cnonce");
        let qop = match field.value("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let count_text = field.value("nc").ok_or("nc")?;
                let valid =
                    count_text.len() == 8 && count_text.bytes().all(|digit| digit.is_ascii_hexdigit());
                let count = u32::from_str_radix(&count_text, 16).ok().filter(|_| valid).ok_or("nc")?;
                Some(Qop { count, count_text })
            }
            Some(_) => return Err("qop"),
        };
        if cnonce.is_none() && (qop.is_some() || algorithm.is_session()) {
            return Err("cnonce");
        }
        Ok(Self {
            user: field.value("username").ok_or("username")?,
            nonce: field.value("nonce").ok_or("nonce")?,
            algorithm,
            qop,
            response: field.value("response").ok_or("response")?.to_ascii_lowercase(),
            uri: field.value("uri").ok_or("uri")?,
            cnonce,
        })
    }
}

/// The response that proves the secret; `None` when the stored hash is of another function than the algorithm.
pub(super) fn expected_response(
    claim: &Claim,
    realm: &str,
    secret: &Secret,
    method: &Method,
) -> Option<String> {
    let hash = claim.algorithm.hash();
    let Claim { user, nonce, uri, .. } = claim;
    let cnonce = claim.cnonce.as_deref().unwrap_or_default();
    let mut ha1 = secret.ha1(hash, user, realm)?;
    if claim.algorithm.is_session() {
        ha1 = hash.hex(&format!("{ha1}:{nonce}:{cnonce}"));
    }
    let ha2 = hash.hex(&format!("{method}:{uri}"));
    Some(match &claim.qop {
        Some(Qop { count_text, .. }) => hash.hex(&format!("{ha1}:{nonce}:{count_text}:{cnonce}:auth:{ha2}")),
        None => hash.hex(&format!("{ha1}:{nonce}:{ha2}")),
    })
}

/// The credentials that answer a challenge: the client's half. `count` is how often the nonce was used, this time
/// included. `None` when the challenge has no realm or nonce, or asks for an algorithm or protection that is not known.
#[must_use]
pub fn respond(
    challenge: &AuthParams,
    method: &Method,
    uri: &str,
    (user, password): (&str, &str),
    cnonce: &str,
    count: u32,
) -> Option<AuthParams> {
    let realm = challenge.value("realm")?;
    let nonce = challenge.value("nonce")?;
    let algorithm =
        challenge.value("algorithm").map_or(Some(Algorithm::Md5), |name| Algorithm::from_name(&name))?;
    let qop = match challenge.value("qop") {
        Some(offered) if offered.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => {
            Some(Qop { count, count_text: format!("{count:08x}") })
        }
        Some(_) => return None,
        None => None,
    };
    let mut credentials = AuthParams::digest()
        .with_quoted("username", user)
        .with_quoted("realm", &realm)
        .with_quoted("nonce", &nonce)
        .with_quoted("uri", uri)
        .with_token("algorithm", algorithm.name());
    if let Some(qop) = &qop {
        credentials = credentials.with_token("qop", "auth").with_token("nc", &qop.count_text);
    }
    if qop.is_some() || algorithm.is_session() {
        credentials = credentials.with_quoted("cnonce", cnonce);
    }
    if let Some(opaque) = challenge.value("opaque") {
        credentials = credentials.with_quoted("opaque", &opaque);
    }
    let claim = Claim {
        user: user.to_owned(),
        nonce,
        algorithm,
        qop,
        response: String::new(),
        uri: uri.to_owned(),
        cnonce: Some(cnonce.to_owned()),
    };
    let response = expected_response(&claim, &realm, &Secret::Password(password.to_owned()), method)?;
    Some(credentials.with_quoted("response", &response))
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
