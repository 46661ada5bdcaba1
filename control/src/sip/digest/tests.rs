//! Digests against vectors from the field and against an independent implementation.

use std::time::{Duration, Instant};

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use proptest::prelude::*;

use super::{Account, Algorithm, Authenticator, Hash, NonceOptions, Secret, Verdict, compute, respond};
use crate::sip::message::{AuthParams, HeaderName, Method};

const REALM: &str = "3402000000";
const USER: &str = "34020000001320000001";
const PASSWORD: &str = "12345678";
const URI: &str = "sip:34020000002000000001@3402000000";

fn params(value: &str) -> AuthParams {
    AuthParams::parse(HeaderName::Authorization, value.as_bytes()).unwrap()
}

fn authenticator(now: Instant) -> Authenticator {
    Authenticator::new(REALM, NonceOptions::default(), now).unwrap()
}

fn account(algorithm: Algorithm) -> impl Fn(&str) -> Option<Account> {
    move |user| {
        (user == USER)
            .then(|| Account { secret: Secret::Password(PASSWORD.into()), algorithms: vec![algorithm] })
    }
}

fn challenge(authenticator: &Authenticator, algorithm: Algorithm, now: Instant) -> AuthParams {
    params(&authenticator.challenges(&[algorithm], false, now)[0])
}

#[test]
fn the_vectors_of_gb28181_devices_are_met() {
    let base = format!(
        "Digest username=\"{USER}\", realm=\"{REALM}\", nonce=\"b7b9f68d8c1d4f6f90c0\", uri=\"{URI}\", response=\"x\""
    );
    for (extra, expected) in [
        (", qop=auth, nc=00000001, cnonce=\"7a1b2c3d\"", "73c592989b1004347d71d1e3694428de"),
        ("", "0f6e9450ddd6ea840f314b6c7f9e42da"),
        (", algorithm=SM3", "b70d5b05eebcb5614c981a61c93679aeb1400097076ddcb60974fa132c4545ad"),
    ] {
        let claim = compute::Claim::read(&params(&format!("{base}{extra}"))).ok().unwrap();
        let secret = Secret::Password(PASSWORD.into());
        assert_eq!(compute::expected_response(&claim, REALM, &secret, &Method::REGISTER).unwrap(), expected);
    }
}

#[test]
fn a_right_answer_to_each_algorithm_is_accepted_once() {
    let now = Instant::now();
    for algorithm in
        [Algorithm::Md5, Algorithm::Md5Sess, Algorithm::Sha256, Algorithm::Sha256Sess, Algorithm::Sm3]
    {
        let authenticator = authenticator(now);
        let challenge = challenge(&authenticator, algorithm, now);
        for count in [1, 2, 0xa, 0x10, 0x100] {
            let answer = respond(&challenge, &Method::REGISTER, URI, (USER, PASSWORD), "c", count).unwrap();
            let fields = [answer];
            let check = || authenticator.check(&fields, &Method::REGISTER, account(algorithm), now);
            assert_eq!(check(), Verdict::Accepted { user: USER.into() }, "{algorithm:?} {count}");
            assert_eq!(check(), Verdict::Challenge { stale: true }, "the same again");
        }
    }
}

#[test]
fn the_nonce_count_is_hashed_as_the_letters_that_were_sent() {
    let now = Instant::now();
    let authenticator = authenticator(now);
    let challenge = challenge(&authenticator, Algorithm::Md5, now);
    let nonce = challenge.value("nonce").unwrap();
    let md5 = |text: String| {
        use md5::Digest;
        compute::to_hex(&md5::Md5::digest(text))
    };
    let (ha1, ha2) = (md5(format!("{USER}:{REALM}:{PASSWORD}")), md5(format!("REGISTER:{URI}")));
    let response = md5(format!("{ha1}:{nonce}:0000000A:c:auth:{ha2}")).to_uppercase();
    let field = params(&format!(
        "Digest username=\"{USER}\",realm=\"{REALM}\",nonce=\"{nonce}\",uri=\"{URI}\",qop=auth,nc=0000000A,\
         cnonce=\"c\",response=\"{response}\""
    ));
    let verdict = authenticator.check(&[field], &Method::REGISTER, account(Algorithm::Md5), now);
    assert_eq!(verdict, Verdict::Accepted { user: USER.into() });
}

#[test]
fn wrong_passwords_unknown_users_and_other_methods_are_refused_alike() {
    let now = Instant::now();
    let authenticator = authenticator(now);
    let challenge = challenge(&authenticator, Algorithm::Md5, now);
    for (user, password, method) in [
        (USER, "wrong", Method::REGISTER),
        ("nobody", PASSWORD, Method::REGISTER),
        (USER, PASSWORD, Method::INVITE),
    ] {
        let answer = respond(&challenge, &Method::REGISTER, URI, (user, password), "c", 1).unwrap();
        let verdict = authenticator.check(&[answer], &method, account(Algorithm::Md5), now);
        assert_eq!(verdict, Verdict::Refused { user: user.into() });
    }
}

#[test]
fn an_empty_password_does_not_open_an_unknown_account() {
    let now = Instant::now();
    let authenticator = authenticator(now);
    let challenge = challenge(&authenticator, Algorithm::Md5, now);
    let answer = respond(&challenge, &Method::REGISTER, URI, ("nobody", ""), "c", 1).unwrap();
    let verdict = authenticator.check(&[answer], &Method::REGISTER, account(Algorithm::Md5), now);
    assert_eq!(verdict, Verdict::Refused { user: "nobody".into() });
}

#[test]
fn an_algorithm_that_was_not_offered_is_refused() {
    let now = Instant::now();
    let authenticator = authenticator(now);
    let challenge = challenge(&authenticator, Algorithm::Md5, now);
    let answer = respond(&challenge, &Method::REGISTER, URI, (USER, PASSWORD), "c", 1).unwrap();
    let verdict = authenticator.check(&[answer], &Method::REGISTER, account(Algorithm::Sha256), now);
    assert_eq!(verdict, Verdict::Refused { user: USER.into() });
}

#[test]
fn a_right_password_with_an_old_nonce_is_challenged_as_stale() {
    let now = Instant::now();
    let authenticator = authenticator(now);
    let challenge = challenge(&authenticator, Algorithm::Md5, now);
    let later = now + Duration::from_secs(301);
    for (password, verdict) in
        [(PASSWORD, Verdict::Challenge { stale: true }), ("wrong", Verdict::Refused { user: USER.into() })]
    {
        let answer = respond(&challenge, &Method::REGISTER, URI, (USER, password), "c", 1).unwrap();
        assert_eq!(
            authenticator.check(&[answer], &Method::REGISTER, account(Algorithm::Md5), later),
            verdict
        );
    }
    let stale = authenticator.challenges(&[Algorithm::Md5], true, later);
    assert_eq!(params(&stale[0]).value("stale").as_deref(), Some("true"));
}

#[test]
fn credentials_for_another_realm_or_scheme_are_challenged_and_broken_ones_are_malformed() {
    let now = Instant::now();
    let authenticator = authenticator(now);
    let check =
        |value: &str| authenticator.check(&[params(value)], &Method::REGISTER, account(Algorithm::Md5), now);
    assert_eq!(check("Basic realm=\"3402000000\""), Verdict::Challenge { stale: false });
    assert_eq!(check("Digest realm=\"elsewhere\""), Verdict::Challenge { stale: false });
    assert_eq!(check("Digest realm=\"3402000000\""), Verdict::Malformed { parameter: "username" });
    let full = "Digest realm=\"3402000000\",username=\"u\",nonce=\"n\",uri=\"u\",response=\"r\"";
    assert_eq!(check(&format!("{full},qop=auth")), Verdict::Malformed { parameter: "nc" });
    assert_eq!(check(&format!("{full},qop=auth,nc=+0000001")), Verdict::Malformed { parameter: "nc" });
    assert_eq!(check(&format!("{full},qop=auth-int")), Verdict::Malformed { parameter: "qop" });
    assert_eq!(check(&format!("{full},algorithm=SHA-1")), Verdict::Malformed { parameter: "algorithm" });
}

#[test]
fn a_stored_hash_serves_algorithms_of_its_own_hash_only() {
    let now = Instant::now();
    let authenticator = authenticator(now);
    let algorithms = vec![Algorithm::Md5, Algorithm::Sha256];
    // MD5("34020000001320000001:3402000000:12345678")
    let hex = {
        use md5::Digest;
        compute::to_hex(&md5::Md5::digest(format!("{USER}:{REALM}:{PASSWORD}"))).to_uppercase()
    };
    let account = |_: &str| {
        Some(Account {
            secret: Secret::Ha1 { hash: Hash::Md5, hex: hex.clone() },
            algorithms: algorithms.clone(),
        })
    };
    for (algorithm, verdict) in [
        (Algorithm::Md5, Verdict::Accepted { user: USER.into() }),
        (Algorithm::Sha256, Verdict::Refused { user: USER.into() }),
    ] {
        let challenge = challenge(&authenticator, algorithm, now);
        let answer = respond(&challenge, &Method::REGISTER, URI, (USER, PASSWORD), "c", 1).unwrap();
        assert_eq!(authenticator.check(&[answer], &Method::REGISTER, account, now), verdict);
    }
}

#[test]
fn secrets_are_never_printed() {
    let account = account(Algorithm::Md5)(USER).unwrap();
    assert!(!format!("{account:?}").contains(PASSWORD));
}

proptest! {
    /// Whatever user, password and URI: the answer of another implementation to our challenge is accepted.
    #[test]
    fn another_implementation_is_understood(
        user in "[a-z0-9@ ,.]{1,20}",
        password in "[ -!#-\\[\\]-~]{0,20}",
        uri in "sip:[a-z0-9]{1,10}@[a-z]{1,10}(;transport=tcp)?",
        sha in any::<bool>(),
    ) {
        let now = Instant::now();
        let algorithm = if sha { Algorithm::Sha256 } else { Algorithm::Md5 };
        let authenticator = authenticator(now);
        let challenge = &authenticator.challenges(&[algorithm], false, now)[0];
        let mut prompt = WwwAuthenticateHeader::parse(challenge).unwrap();
        let context = AuthContext::new_with_method(user.as_str(), password.as_str(), uri.as_str(), None::<&[u8]>, HttpMethod::from("INVITE"));
        let answer = prompt.respond(&context).unwrap().to_header_string();
        let account = |name: &str| (name == user).then(|| Account {
            secret: Secret::Password(password.clone()),
            algorithms: vec![algorithm],
        });
        let verdict = authenticator.check(&[params(&answer)], &Method::INVITE, account, now);
        prop_assert_eq!(verdict, Verdict::Accepted { user: user.clone() });
    }
}
