//! Rewriting addresses and ports. Every line that names neither stays byte for byte as it is, the o= line too: it is
//! an identifier, not an address to send to (RFC 4566 section 5.2). Lines of ICE are removed, because candidates would
//! lead media past the relay. It must not know where the new addresses come from.

use std::net::{IpAddr, SocketAddr};

use super::{Line, LineEnd, Media, Sdp};

impl Sdp {
    /// Rewrites the address of the session part, if it has one. An unspecified address (hold) stays.
    pub fn set_address(&mut self, address: IpAddr) {
        set_connection(&mut self.session, address);
    }

    /// The media descriptions, to rewrite.
    pub fn media_mut(&mut self) -> &mut [Media] {
        &mut self.media
    }

    /// Removes every line of ICE (RFC 8839 section 5) from all parts.
    pub fn remove_ice(&mut self) {
        let sections = self.media.iter_mut().map(|media| &mut media.lines).chain([&mut self.session]);
        for lines in sections {
            lines.retain(|line| !is_ice(line));
        }
    }
}

impl Media {
    /// Sends the media elsewhere: the port of the m= line, the c= line if there is one, and a=rtcp if there is one.
    /// A port count is dropped. An unspecified address (hold) stays.
    pub fn set_address(&mut self, rtp: SocketAddr, rtcp: SocketAddr) {
        self.set_port(rtp.port());
        set_connection(&mut self.lines, rtp.ip());
        for line in &mut self.lines {
            let Some(value) = line.attribute("rtcp") else {
                continue;
            };
            let names_address = value.contains(&b' ');
            line.set(if names_address {
                format!("a=rtcp:{} IN {}", rtcp.port(), family_and_address(rtcp.ip()))
            } else {
                format!("a=rtcp:{}", rtcp.port())
            });
        }
    }

    /// Rejects the media: port 0 (RFC 3264 section 6). Everything else stays.
    pub fn reject(&mut self) {
        self.set_port(0);
    }

    /// Adds a c= line after the m= line, where the media is not at the address of the session part.
    pub fn insert_connection(&mut self, address: IpAddr) {
        let Some(first) = self.lines.first() else { return };
        let end = if first.end == LineEnd::Lf { LineEnd::Lf } else { LineEnd::CrLf };
        let text = format!("c=IN {}", family_and_address(address)).into();
        let connection = Line { text, end, number: first.number };
        // RFC 4566 section 5: i= comes between m= and c=.
        let at = 1 + self.lines.iter().skip(1).take_while(|line| line.key() == Some(b'i')).count();
        if let Some(previous) = self.lines.get_mut(at - 1)
            && previous.end == LineEnd::None
        {
            previous.end = end;
        }
        self.lines.insert(at, connection);
    }

    fn set_port(&mut self, port: u16) {
        let Some(line) = self.lines.first_mut() else {
            return;
        };
        self.field.port = port;
        self.field.port_pairs = 1;
        // The m= line was read when the description was, so the port is its second word.
        let text = line.text.trim_ascii_end();
        let blank = |byte: &u8| byte.is_ascii_whitespace();
        let Some(kind) = text.iter().position(blank) else {
            return;
        };
        let after_kind = text.get(kind..).unwrap_or_default();
        let start = kind + after_kind.iter().take_while(|byte| blank(byte)).count();
        let after_start = text.get(start..).unwrap_or_default();
        let end = start + after_start.iter().position(blank).unwrap_or(after_start.len());
        let (before, rest) =
            (text.get(..start).unwrap_or_default(), line.text.get(end..).unwrap_or_default());
        line.text = [before, port.to_string().as_bytes(), rest].concat().into();
    }
}

fn set_connection(lines: &mut [Line], address: IpAddr) {
    for line in lines.iter_mut().filter(|line| line.key() == Some(b'c')) {
        let held = std::str::from_utf8(line.value())
            .ok()
            .and_then(|text| text.split_ascii_whitespace().nth(2)?.parse::<IpAddr>().ok())
            .is_some_and(|address| address.is_unspecified());
        if !held {
            line.set(format!("c=IN {}", family_and_address(address)));
        }
    }
}

fn family_and_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("IP4 {address}"),
        IpAddr::V6(address) => format!("IP6 {address}"),
    }
}

fn is_ice(line: &Line) -> bool {
    if line.key() != Some(b'a') {
        return false;
    }
    let name = line.value().split(|&byte| byte == b':').next().unwrap_or_default();
    [&b"candidate"[..], b"remote-candidates", b"end-of-candidates"].contains(&name)
        || name.starts_with(b"ice-")
}
