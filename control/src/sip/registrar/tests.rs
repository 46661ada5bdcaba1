use super::request::Contact;
use super::*;

const BOUNDS: Bounds = Bounds {
    min: Duration::from_secs(60),
    default: Duration::from_secs(3_600),
    max: Duration::from_secs(7_200),
    contacts: 2,
};

fn flow() -> Flow {
    Flow::Udp { local: "192.0.2.1:5060".parse().unwrap(), remote: "192.0.2.7:40001".parse().unwrap() }
}

fn register(cseq: u32, contacts: &[(&str, Option<u64>)]) -> Registration {
    let contact = |&(uri, seconds): &(&str, Option<u64>)| Contact {
        uri: uri.parse().unwrap(),
        expires: seconds.map(Duration::from_secs),
        preference: 1000,
    };
    Registration {
        call_id: "one".to_owned(),
        cseq,
        change: Change::Contacts(contacts.iter().map(contact).collect()),
    }
}

fn contacts(registrar: &Registrar, now: Instant) -> Vec<String> {
    registrar.bindings(now, "camera").iter().map(|binding| binding.contact.to_string()).collect()
}

#[test]
fn contact_is_found_with_its_real_source_until_it_expires() {
    let (start, mut registrar) = (Instant::now(), Registrar::new(BOUNDS));
    registrar.register(start, "camera", flow(), &register(1, &[("sip:camera@10.0.0.9", Some(60))])).unwrap();
    let late = start + Duration::from_secs(59);
    assert_eq!(registrar.bindings(late, "camera").first().unwrap().flow, flow());
    assert!(registrar.bindings(start + Duration::from_secs(60), "camera").is_empty());
    assert!(registrar.bindings(late, "viewer").is_empty());
    registrar.expire(start + Duration::from_secs(60));
    assert!(registrar.is_empty());
}

#[test]
fn too_short_is_refused_and_too_long_is_shortened() {
    let (start, mut registrar) = (Instant::now(), Registrar::new(BOUNDS));
    let brief = register(1, &[("sip:camera@10.0.0.9", Some(59))]);
    assert_eq!(registrar.register(start, "camera", flow(), &brief), Err(Refusal::TooBrief));
    let long = register(1, &[("sip:camera@10.0.0.9", Some(1_000_000))]);
    registrar.register(start, "camera", flow(), &long).unwrap();
    assert_eq!(registrar.bindings(start, "camera").first().unwrap().expires_at, start + BOUNDS.max);
}

#[test]
fn refresh_replaces_an_equivalent_contact() {
    let (start, mut registrar) = (Instant::now(), Registrar::new(BOUNDS));
    registrar.register(start, "camera", flow(), &register(1, &[("sip:camera@Host.example", None)])).unwrap();
    registrar.register(start, "camera", flow(), &register(2, &[("sip:camera@host.EXAMPLE", None)])).unwrap();
    assert_eq!(registrar.len(), 1);
}

#[test]
fn requests_of_one_terminal_apply_in_order_only() {
    let (start, mut registrar) = (Instant::now(), Registrar::new(BOUNDS));
    registrar.register(start, "camera", flow(), &register(5, &[("sip:camera@10.0.0.9", None)])).unwrap();
    let old = register(5, &[("sip:camera@10.0.0.9", Some(0))]);
    assert_eq!(registrar.register(start, "camera", flow(), &old), Err(Refusal::OutOfOrder));
    assert_eq!(contacts(&registrar, start), ["sip:camera@10.0.0.9"]);
    // After a restart the terminal has another Call-ID and may start its CSeq anew.
    let restarted =
        Registration { call_id: "two".to_owned(), ..register(1, &[("sip:camera@10.0.0.9", Some(0))]) };
    registrar.register(start, "camera", flow(), &restarted).unwrap();
    assert!(registrar.is_empty());
}

#[test]
fn contacts_are_capped_and_nothing_is_half_applied() {
    let (start, mut registrar) = (Instant::now(), Registrar::new(BOUNDS));
    let three = register(1, &[("sip:camera@a", None), ("sip:camera@b", None), ("sip:camera@c", None)]);
    assert_eq!(registrar.register(start, "camera", flow(), &three), Err(Refusal::TooManyContacts));
    assert!(registrar.is_empty());
}

#[test]
fn wildcard_removes_all() {
    let (start, mut registrar) = (Instant::now(), Registrar::new(BOUNDS));
    registrar
        .register(start, "camera", flow(), &register(1, &[("sip:camera@a", None), ("sip:camera@b", None)]))
        .unwrap();
    let all = Registration { call_id: "one".to_owned(), cseq: 2, change: Change::RemoveAll };
    registrar.register(start, "camera", flow(), &all).unwrap();
    assert!(registrar.is_empty());
}

#[test]
fn preferred_contact_comes_first() {
    let (start, mut registrar) = (Instant::now(), Registrar::new(BOUNDS));
    let mut both = register(1, &[("sip:camera@a", None), ("sip:camera@b", None)]);
    if let Change::Contacts(contacts) = &mut both.change {
        contacts[0].preference = 500;
    }
    registrar.register(start, "camera", flow(), &both).unwrap();
    assert_eq!(contacts(&registrar, start), ["sip:camera@b", "sip:camera@a"]);
}
