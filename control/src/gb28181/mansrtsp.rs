//! MANSRTSP (Annex B): requests like those of RTSP in the body of an INFO, which steer a recording that plays. It must not know
//! dialogs.

use std::fmt;

/// The media type, as the standard spells it.
pub const CONTENT_TYPE: &str = "Application/MANSRTSP";

/// What a recording is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steer {
    /// Wait.
    Pause,
    /// Go on from where it waits, as fast as before.
    Resume,
    /// Go on at this speed, 1 being that of life; below zero it runs backwards (2022).
    Speed(f64),
    /// Go on from this many seconds after the start of what was asked for.
    Seek(u32),
    /// End.
    Teardown,
}

impl Steer {
    /// The body with this sequence number.
    #[must_use]
    pub fn to_body(self, number: u32) -> String {
        let (method, field) = match self {
            Self::Pause => ("PAUSE", "PauseTime: now\r\n".to_owned()),
            Self::Resume => ("PLAY", "Range: npt=now-\r\n".to_owned()),
            Self::Speed(speed) => ("PLAY", format!("Scale: {}\r\n", Scale(speed))),
            Self::Seek(seconds) => ("PLAY", format!("Range: npt={seconds}-\r\n")),
            Self::Teardown => ("TEARDOWN", String::new()),
        };
        format!("{method} RTSP/1.0\r\nCSeq: {number}\r\n{field}\r\n")
    }
}

/// A speed as it is written: always with a fraction, because some devices read nothing else.
struct Scale(f64);

impl fmt::Display for Scale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if number.fract() == 0.0 { write!(formatter, "{number:.1}") } else { write!(formatter, "{number}") }
    }
}

/// Whether the answer says that it was done: `RTSP/1.0 200 OK`. `None` where it says nothing, as in an empty body.
#[must_use]
pub fn was_done(body: &[u8]) -> Option<bool> {
    let line = body.split(|&byte| byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|word| word.starts_with("RTSP/"))?;
    let status: u16 = words.next()?.parse().ok()?;
    Some((200..300).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_those_of_the_annex() {
        assert_eq!(Steer::Pause.to_body(6), "PAUSE RTSP/1.0\r\nCSeq: 6\r\nPauseTime: now\r\n\r\n");
        assert_eq!(Steer::Speed(2.0).to_body(3), "PLAY RTSP/1.0\r\nCSeq: 3\r\nScale: 2.0\r\n\r\n");
        assert_eq!(Steer::Speed(0.25).to_body(3), "PLAY RTSP/1.0\r\nCSeq: 3\r\nScale: 0.25\r\n\r\n");
        assert_eq!(Steer::Speed(-1.0).to_body(3), "PLAY RTSP/1.0\r\nCSeq: 3\r\nScale: -1.0\r\n\r\n");
        assert_eq!(Steer::Seek(100).to_body(4), "PLAY RTSP/1.0\r\nCSeq: 4\r\nRange: npt=100-\r\n\r\n");
        assert_eq!(Steer::Resume.to_body(5), "PLAY RTSP/1.0\r\nCSeq: 5\r\nRange: npt=now-\r\n\r\n");
        assert_eq!(Steer::Teardown.to_body(7), "TEARDOWN RTSP/1.0\r\nCSeq: 7\r\n\r\n");
    }

    #[test]
    fn answers_say_whether_it_was_done() {
        assert_eq!(was_done(b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nRTP-Info: seq=1;rtptime=2\r\n"), Some(true));
        assert_eq!(was_done(b"RTSP/1.0 457 Invalid Range\r\n"), Some(false));
        assert_eq!((was_done(b""), was_done(b"PLAY RTSP/1.0"), was_done(b"\xff")), (None, None, None));
    }
}
