//! Compound RTCP is read and translated without reaching past its end; a translation keeps it valid, keeps its length,
//! and what is no RTCP is left alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_common::rtcp::{Compound, Mapping, Packet, Translation, translate};

fuzz_target!(|data: &[u8]| {
    // The first bytes choose the identities, so that they are found in what follows.
    let Some((head, body)) = data.split_at_checked(12) else { return };
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mapping = |from, to| Mapping { from, to, sequence: word(8), timestamp: word(8).rotate_left(7) };
    let translation = Translation {
        sent: Some(mapping(Some(word(0)).filter(|from| from % 2 == 0), word(4))),
        received: Some(mapping(Some(word(4)), word(0))),
    };
    // On the heap and no longer than it must be, so that the sanitizer sees a read past the end.
    let mut bytes = body.to_vec().into_boxed_slice();
    let read = Compound::parse(body).is_ok();
    let translated = translate(&mut bytes, &translation);
    assert_eq!(read, translated.is_ok());
    if !read {
        assert_eq!(*bytes, *body, "changed, though it is no RTCP");
        return;
    }
    let compound = Compound::parse(&bytes).expect("valid RTCP stays valid");
    let count = |packet| match packet {
        Packet::SenderReport(report) => report.blocks().count(),
        Packet::ReceiverReport(report) => report.blocks().count(),
        Packet::Description(description) => description.chunks().map(|(_, items)| items.count()).sum(),
        Packet::Goodbye(goodbye) => goodbye.sources().count(),
        _ => 0,
    };
    assert!(compound.packets().map(count).sum::<usize>() <= bytes.len());
});
