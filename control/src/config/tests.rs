use std::os::unix::fs::PermissionsExt as _;

use super::*;

const EXAMPLE: &str = include_str!("../../../docs/culvert.example.toml");

/// The smallest file that is good.
const SMALL: &str = r#"
[sip]
listen = ["udp:192.0.2.1:5060"]
realm = "culvert.example"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("culvert.toml"), text)
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// What `text` is refused for must name the file and all of these.
fn refused(text: &str, words: &[&str]) {
    let message = refusal(text);
    for word in [&["culvert.toml"], words].concat() {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn example_is_good_and_shows_every_default() {
    let example = parse(EXAMPLE).unwrap();
    let small = parse(SMALL).unwrap();
    let shown = |config: &Config| {
        let sip = Sip { listen: Vec::new(), realm: String::new(), ..config.sip.clone() };
        format!("{sip:?} {:?}", config.admin_socket)
    };
    assert_eq!(shown(&example), shown(&small), "a default in the example file is not the one in the code");
    let relay = "[relay]\ninterfaces = [\"eth1\", \"eth2\"]\n[[network]]\nname = \"a\"\ninterface = \"eth1\"\naddress = \
                 \"10.0.0.1\"\n[[network]]\nname = \"b\"\ninterface = \"eth2\"\naddress = \"10.0.0.2\"\n";
    let defaults = parse(&format!("{SMALL}{relay}")).unwrap();
    assert_eq!(format!("{:?}", example.relay), format!("{:?}", defaults.relay));
    let platform = "[gb28181]\nplatform = \"34020000002000000001\"\npassword = \"12345678\"\n";
    let defaults = parse(&format!("{SMALL}{platform}")).unwrap().gb28181.unwrap();
    let mut shown = example.gb28181.unwrap();
    shown.devices.clear();
    assert_eq!(format!("{shown:?}"), format!("{defaults:?}"));
    let http = "[http]\nlisten = \"127.0.0.1:8080\"\ntoken_file = \"/etc/culvert.token\"\n";
    let defaults = parse(&format!("{SMALL}{http}")).unwrap().http;
    assert_eq!(format!("{:?}", example.http), format!("{defaults:?}"));
    refused(&format!("{SMALL}{http}requests = 0\n"), &["http.requests", "1 or more"]);
}

#[test]
fn platform_needs_an_identifier_and_passwords_of_somebodys_choosing() {
    let platform = |keys: &str| format!("{SMALL}[gb28181]\nplatform = \"34020000002000000001\"\n{keys}");
    refused(&platform(""), &["gb28181.password", "There is no default password"]);
    refused(&platform("password = \"short\""), &["gb28181.password", "5 characters"]);
    refused(&platform("password = \"12345678\"\nrealm = \"a b\""), &["gb28181.realm", "a b"]);
    refused(&platform("password = \"12345678\"\nkeepalive_losses = 0"), &["gb28181.keepalive_losses"]);
    refused(&platform("password = \"12345678\"\nmin_expires = 90000"), &["min_expires = 90000"]);
    refused(&platform("password = \"12345678\"\ninvite_seconds = 60"), &["gb28181.invite_seconds", "45"]);
    refused(&platform("password = \"12345678\"\nalgorithms = []"), &["gb28181.algorithms", "SM3"]);
    refused(&platform("password = \"12345678\"").replace("34020000002000000001", "3402"), &["20 digits"]);
    let device = |id: &str, keys: &str| platform(&format!("[[gb28181.device]]\nid = \"{id}\"\n{keys}\n"));
    let camera = "34020000001320000001";
    refused(&device(camera, ""), &["gb28181.device[0]", "none of them"]);
    refused(
        &device("34020000002000000001", "password = \"12345678\""),
        &["gb28181.device[0].id", "platform"],
    );
    let account = format!(
        "{}[[account]]\nuser = \"{camera}\"\npassword = \"12345678\"\n",
        device(camera, "password = \"12345678\"")
    );
    refused(&account, &["gb28181.device[0].id", "[[account]]"]);
    let own = parse(&device(camera, "password = \"its own one\"\nkeepalive_seconds = 10"))
        .unwrap()
        .gb28181
        .unwrap();
    let id = camera.parse().unwrap();
    assert_eq!(
        own.password(&id).map(|password| password.reveal().to_owned()).as_deref(),
        Some("its own one")
    );
    assert_eq!((own.device(&id).keepalive.as_secs(), own.device(&id).keepalive_losses), (10, 3));
    assert!(own.password(&"34020000001320000002".parse().unwrap()).is_none());
}

#[test]
fn first_matching_rule_decides_and_no_match_means_no() {
    let example = parse(EXAMPLE).unwrap();
    let mode = |from, to| example.rule(from, to).map(|rule| rule.mode);
    assert_eq!(mode("viewer1", "camera7"), Some(Mode::Relay));
    assert_eq!(mode("viewer1", "viewer2"), Some(Mode::Direct));
    assert_eq!(mode("camera7", "viewer1"), None);
}

#[test]
fn misspelt_key_is_found_with_its_line() {
    refused(&SMALL.replace("realm", "relam"), &["relam", "line 4", "expected"]);
    refused(&format!("{SMALL}min_expire = 1\n"), &["min_expire", "min_expires"]);
}

#[test]
fn wrong_value_says_what_was_found_and_what_would_be_right() {
    refused(&SMALL.replace("udp:192.0.2.1:5060", "192.0.2.1"), &["192.0.2.1", "udp:192.0.2.1:5060"]);
    refused(&SMALL.replace("\"udp:192.0.2.1:5060\"", ""), &["sip.listen", "an empty list"]);
    refused(&SMALL.replace("culvert.example", ""), &["sip.realm", "domain name"]);
    refused(&format!("{SMALL}min_expires = 7201\n"), &["sip.default_expires", "min_expires = 7201"]);
    refused(&format!("{SMALL}min_session_expires = 89\n"), &["sip.min_session_expires", "89", "90 seconds"]);
    refused(&format!("{SMALL}[sip.timers]\nt1_ms = 0\n"), &["sip.timers", "t1_ms = 0"]);
    refused(&format!("{SMALL}[sip.limits]\ncalls = 0\n"), &["sip.limits.calls", "1 or more"]);
}

#[test]
fn terminal_must_prove_itself() {
    let account = |keys: &str| format!("{SMALL}[[account]]\nuser = \"camera\"\n{keys}\n");
    refused(&account(""), &["account[0]", "none of them", "There is no default password"]);
    refused(&account("password = \"\""), &["account[0].password", "0 characters"]);
    refused(&account("password = \"short\""), &["account[0].password", "5 characters"]);
    refused(&account("authenticate = \"never\""), &["account[0].from", "192.0.2.0/24"]);
    refused(
        &account("password = \"long enough\"\nfrom = [\"10.0.0.0/8\"]"),
        &["account[0].from", "authenticate"],
    );
    refused(&account("ha1 = \"abc\""), &["account[0].ha1", "32 hexadecimal digits", "md5sum"]);
    refused(&account("password = \"long enough\"\nha1 = \"abc\""), &["account[0]", "more than one"]);
    assert!(parse(&account("authenticate = \"never\"\nfrom = [\"10.0.0.0/8\"]")).is_ok());
}

#[test]
fn secret_is_not_in_any_message() {
    let text = format!("{SMALL}[[account]]\nuser = \"camera\"\npassword = \"hunter2\"\n");
    assert!(!refusal(&text).contains("hunter2"));
    let good = parse(&text.replace("hunter2", "hunter2hunter2")).unwrap();
    assert!(!format!("{good:?}").contains("hunter2"));
}

#[test]
fn password_file_must_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "long enough\n").unwrap();
    let file = folder.path().join("culvert.toml");
    std::fs::write(&file, format!("{SMALL}[[account]]\nuser = \"camera\"\npassword_file = \"password\"\n"))
        .unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let message = Config::load(&file).unwrap_err().to_string();
    assert!(message.contains("mode 644") && message.contains("chmod 600"), "{message}");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = Config::load(&file).unwrap();
    let Proof::Password(secret, _) = &config.accounts[0].proof else { panic!("no password") };
    assert_eq!(secret.reveal(), "long enough");
}

#[test]
fn relay_needs_networks_and_rules_need_a_relay() {
    refused(
        &format!("{SMALL}[[rule]]\nfrom = \"*\"\nto = \"*\"\nmode = \"relay\"\n"),
        &["rule[0].mode", "[relay]"],
    );
    refused(&format!("{SMALL}[relay]\ninterfaces = [\"eth1\"]\n"), &["network", "eth1", "[[network]]"]);
    let network = "[[network]]\nname = \"a\"\ninterface = \"eth9\"\naddress = \"10.0.0.1\"\n";
    let text = format!("{SMALL}[relay]\ninterfaces = [\"eth1\"]\n{network}");
    refused(&text, &["network[0].interface", "eth9", "relay.interfaces: eth1"]);
    refused(&format!("{SMALL}{network}"), &["network", "[relay]"]);
}

/// A relay with these keys, and a network with those.
fn relay(keys: &str, network: &str) -> String {
    format!(
        "{SMALL}[relay]\ninterfaces = [\"eth1\"]\n{keys}\n[[network]]\nname = \"a\"\ninterface = \"eth1\"\naddress = \
         \"fd00::1\"\n{network}\n"
    )
}

#[test]
fn what_legs_have_in_common_is_told_in_numbers_that_can_be() {
    let plain = parse(&relay("", "")).unwrap().relay.unwrap();
    assert_eq!(
        (plain.quality, plain.limit, plain.relearn_after, plain.rtcp),
        (false, None, None, Rtcp::Relay)
    );
    let keys = "source = \"learn\"\nrelearn_after_seconds = 20\nleg_bits_per_second = 8000000\nquality = true\nrtcp = \"terminate\"";
    let told = parse(&relay(keys, "")).unwrap().relay.unwrap();
    assert_eq!(told.limit, Some(RateLimit::bits(8_000_000)));
    assert_eq!((told.relearn_after, told.rtcp), (Some(Duration::from_secs(20)), Rtcp::Terminate));
    refused(
        &relay("relearn_after_seconds = 20", ""),
        &["relay.relearn_after_seconds", "pinned", "learn-port"],
    );
    refused(&relay("rtcp = \"terminate\"\nquality = false", ""), &["relay.rtcp", "quality = true"]);
    let sockets = parse(&relay("quality = true\nrtcp = \"terminate\"\nmode = \"user\"", "")).unwrap();
    assert_eq!(sockets.relay.unwrap().rtcp, Rtcp::Terminate, "sockets end it too");
    refused(&relay("rtcp = \"drop\"", ""), &["drop", "`relay`", "`terminate`"]);
    refused(&relay("leg_bits_per_second = 99999999999999", ""), &["relay.leg_bits_per_second", "no limit"]);
    refused(&relay("leg_packets_per_second = 4000000000", ""), &["relay.leg_packets_per_second", "no limit"]);
}

#[test]
fn frames_for_user_space_are_a_power_of_two() {
    assert_eq!(parse(&relay("punt_frames = 128", "")).unwrap().relay.unwrap().punt_frames, 128);
    for wrong in ["64", "4095", "131072"] {
        refused(&relay(&format!("punt_frames = {wrong}"), ""), &["relay.punt_frames", wrong, "power of two"]);
    }
}

#[test]
fn networks_may_be_tagged_once_or_twice() {
    let vlan = |network| parse(&relay("", network)).unwrap().networks[0].vlan;
    assert_eq!(vlan(""), Tags::NONE);
    assert_eq!(vlan("vlan = [100]"), Tags::one(relay_user::Tag::vlan(100)));
    let two = Tags::two(relay_user::Tag::service(200), relay_user::Tag::vlan(100));
    assert_eq!(vlan("vlan = [200, 100]"), two);
    refused(&relay("", "vlan = [4095]"), &["network[0].vlan", "4095", "1 to 4094"]);
    refused(&relay("", "vlan = [1, 2, 3]"), &["network[0].vlan", "3 tags", "[outer, inner]"]);
}

#[test]
fn missing_file_says_how_to_name_one() {
    let message = Config::load(Path::new("nowhere/culvert.toml")).unwrap_err().to_string();
    assert!(message.contains("nowhere/culvert.toml") && message.contains("--config"), "{message}");
}
