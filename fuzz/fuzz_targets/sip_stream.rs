//! However a stream is cut into reads, the same messages come out of it.
#![no_main]

use bytes::BytesMut;
use control::sip::message::{Limits, ParseError, StreamDecoder, StreamItem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (cuts, bytes) = input;
    let mut pieces = Vec::new();
    let mut rest = &bytes[..];
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(decode(&pieces), decode(&[&bytes]));
});

fn decode(pieces: &[&[u8]]) -> (Vec<StreamItem>, Option<ParseError>) {
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut buffer = BytesMut::new();
    let mut items = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
    }
    (items, None)
}
