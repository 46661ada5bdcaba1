//! Character sets of message bodies (6.10): GB2312 was recommended in 2016, GB18030 is in 2022, and what a device declares is
//! a hint. It must not know what the texts mean.

use std::borrow::Cow;

use encoding_rs::GB18030;
use serde::Deserialize;

/// What is written in, and declared. GB18030 holds GB2312, so both are encoded alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Charset {
    /// What devices of 2016 declare.
    #[default]
    #[serde(rename = "GB2312")]
    Gb2312,
    /// What the standard of 2022 asks for.
    #[serde(rename = "GB18030")]
    Gb18030,
    /// What some devices are set to.
    #[serde(rename = "UTF-8")]
    Utf8,
}

impl Charset {
    /// Its name in an XML declaration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gb2312 => "GB2312",
            Self::Gb18030 => "GB18030",
            Self::Utf8 => "UTF-8",
        }
    }

    /// A text in this character set.
    #[must_use]
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Gb2312 | Self::Gb18030 => GB18030.encode(text).0.into_owned(),
        }
    }
}

/// Reads a body, whatever it says of itself; what cannot be read becomes U+FFFD, and the rest is kept.
///
/// Bytes that are no UTF-8 are GB18030, of which GB2312 and GBK are parts. Bytes that are may be either: two of three common
/// characters in GB2312 are also valid UTF-8, of two-byte sequences that mean Latin or Arabic there. So where UTF-8 is not
/// declared, UTF-8 is believed only if all that is not ASCII looks Chinese.
#[must_use]
pub fn decode(body: &[u8]) -> Cow<'_, str> {
    let utf8 = std::str::from_utf8(body).ok();
    match utf8 {
        Some(text) if text.is_ascii() || declares_utf8(body) || looks_chinese(text) => {
            Cow::Borrowed(text.trim_start_matches('\u{feff}'))
        }
        _ => GB18030.decode_without_bom_handling(body).0,
    }
}

/// Whether the XML declaration names UTF-8.
fn declares_utf8(body: &[u8]) -> bool {
    let head = body.get(..body.len().min(100)).unwrap_or_default();
    let end = head.iter().position(|&byte| byte == b'>').unwrap_or(head.len());
    let declaration = head.get(..end).unwrap_or_default().to_ascii_lowercase();
    declaration.windows(5).any(|window| window == b"utf-8")
        || declaration.windows(4).any(|window| window == b"utf8")
}

/// Whether every character beyond ASCII is one that Chinese texts are made of: all of them take three bytes in UTF-8.
fn looks_chinese(text: &str) -> bool {
    text.chars().filter(|letter| !letter.is_ascii()).all(|letter| {
        matches!(letter,
            '\u{2010}'..='\u{203b}'     // dashes, quotation marks
            | '\u{2e80}'..='\u{9fff}'   // radicals, punctuation, kana, ideographs
            | '\u{f900}'..='\u{faff}'   // compatibility ideographs
            | '\u{fe30}'..='\u{fe4f}'   // vertical forms
            | '\u{feff}'                // byte order mark
            | '\u{ff00}'..='\u{ffef}'   // full-width forms
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "实时预览一号摄像机";

    fn xml(charset: Charset, declared: &str) -> Vec<u8> {
        charset.encode(&format!("<?xml version=\"1.0\" encoding=\"{declared}\"?><Name>{NAME}</Name>"))
    }

    #[test]
    fn text_is_read_whatever_character_set_is_declared() {
        for charset in [Charset::Gb2312, Charset::Gb18030, Charset::Utf8] {
            for declared in ["GB2312", "gbk", "GB18030", "UTF-8", "utf8"] {
                let body = xml(charset, declared);
                assert!(
                    decode(&body).contains(NAME),
                    "{charset:?} declared as {declared}: {}",
                    decode(&body)
                );
            }
        }
    }

    #[test]
    fn gb2312_that_happens_to_be_valid_utf8_is_not_taken_for_it() {
        let body = b"<Name>\xca\xb5\xca\xb1</Name>";
        assert!(std::str::from_utf8(body).is_ok());
        assert_eq!(decode(body), "<Name>实时</Name>");
    }

    #[test]
    fn rare_characters_beyond_gbk_survive() {
        let rare = "㐀镕\u{20000}";
        assert_eq!(decode(&Charset::Gb18030.encode(rare)), rare);
    }

    #[test]
    fn bad_bytes_cost_one_character_and_a_byte_order_mark_costs_nothing() {
        let decoded = decode(b"<Address>\xff\xca\xb5</Address><Name>ok</Name>").into_owned();
        assert!(decoded.contains("<Name>ok</Name>"), "{decoded}");
        assert_eq!(decode(b"\xef\xbb\xbf<a/>"), "<a/>");
    }

    proptest! {
        #[test]
        fn chinese_survives_in_every_character_set(text in "[\u{4e00}-\u{9fa5}a-z0-9 ，。]{0,40}") {
            for charset in [Charset::Gb18030, Charset::Utf8] {
                let body = charset.encode(&format!("<?xml encoding=\"{}\"?>{text}", charset.name()));
                let ends = decode(&body).ends_with(&text);
                // GB18030 of a few hanzi may also be UTF-8 of fewer; nothing tells these apart.
                prop_assert!(ends || charset == Charset::Gb18030 && std::str::from_utf8(&body).is_ok());
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
