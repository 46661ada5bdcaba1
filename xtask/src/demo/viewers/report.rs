//! The result of a demo with many viewers: a table for people, an object for programs, and whether it is good enough.

use std::fmt;

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::table::{or_dash, table};
use super::relay::Group;
use super::showing::Showing;
use super::stay::{Account, Stay};

/// Fewer copies than this say nothing.
const ENOUGH_COPIES: u64 = 1000;

/// Everything that one demo found.
pub(super) struct Report {
    /// Seconds that media flowed.
    pub(super) seconds: u64,
    /// Who forwards, in the relay's words.
    pub(super) backend: String,
    /// Packets that the camera put on its wire.
    pub(super) packets: u64,
    /// When it sent the first, in seconds since the epoch.
    pub(super) start: f64,
    /// By the time of joining.
    pub(super) stays: Vec<(Stay, Account)>,
    pub(super) showings: Vec<Showing>,
    pub(super) group: Group,
    /// Media packets that the relay's network stack saw; those that XDP forwards never reach it.
    pub(super) in_network_stack: u64,
    /// How often the relay said that somebody needs a key frame.
    pub(super) key_frames_wanted: u64,
}

impl Report {
    fn sum(&self, of: impl Fn(&Account) -> u64) -> u64 {
        self.stays.iter().map(|(_, account)| of(account)).sum()
    }

    fn copies(&self) -> u64 {
        self.sum(|account| account.arrived)
    }

    fn longest(&self, of: impl Fn(&(Stay, Account)) -> Option<f64>) -> Option<f64> {
        self.stays.iter().filter_map(of).max_by(f64::total_cmp)
    }

    /// Copies that another path than XDP took: they arrived without the data plane counting them, or the network stack saw
    /// them, or their packet went on by another path.
    fn off_path(&self) -> u64 {
        let by_xdp = |stay: &Stay| if self.group.path == "xdp" { stay.copies.sent } else { 0 };
        let uncounted = self.stays.iter().map(|(stay, account)| account.arrived.saturating_sub(by_xdp(stay)));
        let elsewhere = self.packets.saturating_sub(self.group.forwarded_by_xdp);
        uncounted.sum::<u64>().max(self.in_network_stack).max(elsewhere)
    }

    fn pictures(&self) -> u64 {
        self.showings.iter().map(|showing| showing.decoded).sum()
    }

    fn differing(&self) -> u64 {
        self.showings.iter().map(Showing::differing).sum()
    }

    fn row(&self, (stay, account): &(Stay, Account)) -> [String; 9] {
        let ms = |value: Option<f64>| or_dash(value.map(|ms| format!("{ms:.1} ms")));
        let showing = self.showings.iter().find(|showing| showing.viewer == stay.seat.number);
        [
            stay.seat.number.to_string(),
            self.span(stay),
            ms(Some(join_ms(stay))),
            ms(account.first_packet_ms),
            ms(account.first_picture_ms),
            stay.copies.sent.to_string(),
            format!("{} ({} lost)", account.arrived, account.lost),
            or_dash(account.transit_us.map(|us| format!("{us:.0} us"))),
            or_dash(showing.map(|showing| format!("{} of {}", showing.equal, showing.due))),
        ]
    }

    /// From when to when, in seconds since the camera's first packet.
    fn span(&self, stay: &Stay) -> String {
        let from = if stay.asked < self.start {
            "start".to_owned()
        } else {
            format!("{:.1}", stay.asked - self.start)
        };
        let to = stay.left.map_or("end".to_owned(), |(asked, _)| format!("{:.1}", asked - self.start));
        format!("{from} - {to}")
    }
}

fn join_ms(stay: &Stay) -> f64 {
    std::time::Duration::from_micros(stay.join_us).as_secs_f64() * 1000.0
}

impl Outcome for Report {
    fn shortcomings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.copies() < ENOUGH_COPIES {
            found.push(format!("{} copies, which is fewer than {ENOUGH_COPIES}", self.copies()));
        }
        let refused: u64 = self.stays.iter().map(|(stay, _)| stay.copies.lost).sum();
        let lost = format!("copies lost (the relay says that it could not send {refused})");
        let faults = [
            (self.sum(|account| account.lost), lost.as_str()),
            (self.sum(|account| account.repeated), "copies repeated"),
            (self.sum(|account| account.reordered), "copies out of order"),
            (self.sum(|account| account.foreign), "packets that are no copy for this viewer"),
            (self.off_path(), "copies were not made by XDP"),
            (self.differing(), "pictures differ"),
        ];
        let faults = faults.into_iter().filter(|(count, _)| *count > 0);
        found.extend(faults.map(|(count, what)| format!("{count} {what}")));
        let blind = self.showings.iter().filter(|showing| showing.decoded == 0);
        found.extend(blind.map(|showing| format!("viewer {} decoded no picture", showing.viewer)));
        found
    }

    fn to_json(&self) -> Value {
        json!({
            "summary": {
                "viewers_packets": self.packets,
                "viewers_copies": self.copies(),
                "viewers_lost": self.sum(|account| account.lost),
                "viewers_repeated": self.sum(|account| account.repeated),
                "viewers_reordered": self.sum(|account| account.reordered),
                "viewers_foreign": self.sum(|account| account.foreign),
                "viewers_off_path": self.off_path(),
                "viewers_pictures": self.pictures(),
                "viewers_pictures_differing": self.differing(),
                "viewers_join_ms": self.longest(|(stay, _)| Some(join_ms(stay))),
                "viewers_first_packet_ms": self.longest(|(_, account)| account.first_packet_ms),
                "viewers_key_frames_wanted": self.key_frames_wanted,
            },
            "seconds": self.seconds,
            "backend": self.backend,
            "path": self.group.path,
            "passes": self.group.passes,
            "stays": self.stays.iter().map(|(stay, account)| json!({
                "viewer": stay.seat.number, "address": stay.seat.address.to_string(), "ssrc": stay.seat.ssrc,
                "join_ms": join_ms(stay), "first_packet_ms": account.first_packet_ms,
                "first_picture_ms": account.first_picture_ms, "sent": stay.copies.sent, "refused": stay.copies.lost,
                "arrived": account.arrived, "lost": account.lost, "repeated": account.repeated,
                "reordered": account.reordered, "foreign": account.foreign, "transit_us": account.transit_us,
            })).collect::<Vec<_>>(),
            "decoders": self.showings.iter().map(|showing| json!({
                "viewer": showing.viewer, "due": showing.due, "decoded": showing.decoded, "equal": showing.equal,
            })).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "one camera, H.264 in {} packets, shown to many in {} s", self.packets, self.seconds)?;
        writeln!(
            f,
            "the relay forwards by {}; the group's copies are made by {} in {} passes",
            self.backend, self.group.path, self.group.passes
        )?;
        writeln!(f, "a key frame was wanted {} times\n", self.key_frames_wanted)?;
        let heading = [
            "viewer",
            "from - to, s",
            "join",
            "first packet",
            "key picture",
            "sent",
            "arrived",
            "transit",
            "equal pictures",
        ];
        f.write_str(&table(heading, self.stays.iter().map(|stay| self.row(stay))))?;
        writeln!(
            f,
            "\n{} copies, {} lost, {} repeated, {} out of order, {} foreign, {} off the path xdp; {} pictures decoded, {} differ",
            self.copies(),
            self.sum(|account| account.lost),
            self.sum(|account| account.repeated),
            self.sum(|account| account.reordered),
            self.sum(|account| account.foreign),
            self.off_path(),
            self.pictures(),
            self.differing()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::relay::Copies;
    use super::super::seat::Seat;
    use super::*;

    fn report(account: Account, path: &str) -> Report {
        let copies = Copies { sent: 1000, lost: 0 };
        let seat = Seat::new(1);
        let stay = Stay { seat, asked: 0.0, joined: 0.0, join_us: 0, left: None, copies };
        Report {
            seconds: 5,
            backend: "xdp".to_owned(),
            packets: 1000,
            start: 1.0,
            stays: vec![(stay, account)],
            showings: vec![Showing { viewer: 1, due: 50, equal: 50, decoded: 50 }],
            group: Group { forwarded_by_xdp: 1000, path: path.to_owned(), passes: 1 },
            in_network_stack: 0,
            key_frames_wanted: 1,
        }
    }

    fn good() -> Account {
        Account { arrived: 1000, ..Account::default() }
    }

    #[test]
    fn all_is_well_when_every_copy_was_made_by_xdp_and_every_picture_is_equal() {
        assert_eq!(report(good(), "xdp").shortcomings(), [""; 0]);
    }

    #[test]
    fn each_fault_is_a_shortcoming_of_its_own() {
        let said = |account| report(account, "xdp").shortcomings();
        assert_eq!(
            said(Account { lost: 2, ..good() }),
            ["2 copies lost (the relay says that it could not send 0)"]
        );
        assert_eq!(said(Account { repeated: 2, ..good() }), ["2 copies repeated"]);
        assert_eq!(said(Account { reordered: 2, ..good() }), ["2 copies out of order"]);
        assert_eq!(said(Account { foreign: 2, ..good() }), ["2 packets that are no copy for this viewer"]);
        assert_eq!(said(Account { arrived: 1003, ..good() }), ["3 copies were not made by XDP"]);
        assert_eq!(report(good(), "user").shortcomings(), ["1000 copies were not made by XDP"]);
        assert_eq!(said(Account { arrived: 999, ..good() }).len(), 1);
    }

    #[test]
    fn packets_that_went_on_by_another_path_were_not_copied_by_xdp() {
        let mut report = report(good(), "xdp");
        report.group.forwarded_by_xdp = 998;
        assert_eq!(report.shortcomings(), ["2 copies were not made by XDP"]);
        report.in_network_stack = 7;
        assert_eq!(report.shortcomings(), ["7 copies were not made by XDP"]);
    }

    #[test]
    fn a_decoder_that_showed_nothing_is_a_shortcoming_though_nothing_was_due() {
        let mut report = report(good(), "xdp");
        report.showings = vec![Showing::compare(9, &[], &[], 0)];
        assert_eq!(report.shortcomings(), ["viewer 9 decoded no picture"]);
    }
}
