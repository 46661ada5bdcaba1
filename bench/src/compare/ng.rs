//! The control protocol of rtpengine: a cookie, a space, and a dictionary in bencode, in datagrams.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Bytes of the largest answer.
const LARGEST: usize = 8192;
/// How long one answer is waited for before the command is sent again, which rtpengine recognises by its cookie.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
/// How long an answer is waited for at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who commands.
pub(crate) struct Client {
    socket: UdpSocket,
    cookie: Cell<u64>,
}

/// A command about a call.
pub(crate) struct Command<'a> {
    pub(crate) name: &'static str,
    pub(crate) call: &'a str,
    pub(crate) from_tag: &'static str,
    pub(crate) to_tag: Option<&'static str>,
    /// The session description that comes with it.
    pub(crate) description: Option<&'a str>,
    /// The interfaces that it comes from and goes to.
    pub(crate) direction: [&'static str; 2],
}

/// What rtpengine says to a command.
pub(crate) struct Answer(String);

impl Client {
    /// In the calling thread's namespace; waits until rtpengine answers.
    pub(crate) fn connect(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((server.ip(), 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(AGAIN_AFTER))?;
        let client = Self { socket, cookie: Cell::new(0) };
        let answer = client.exchange("d7:command4:pinge").context("rtpengine does not answer")?;
        ensure!(answer.0.contains("4:pong"), "rtpengine answers a ping with {}", answer.0);
        Ok(client)
    }

    /// Sends a command and returns what rtpengine says to it.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub(crate) fn ask(&self, command: &Command<'_>) -> Result<Answer> {
        let answer = self.exchange(&command.text())?;
        ensure!(answer.0.contains("6:result2:ok"), "rtpengine refuses `{}`: {}", command.name, answer.0);
        Ok(answer)
    }

    fn exchange(&self, dictionary: &str) -> Result<Answer> {
        let cookie = self.cookie.get() + 1;
        self.cookie.set(cookie);
        let (cookie, deadline) = (format!("{cookie} "), Instant::now() + PATIENCE);
        let mut answer = [0; LARGEST];
        while Instant::now() < deadline {
            // Refused while it does not listen yet: as if it had been lost.
            let _ = self.socket.send(format!("{cookie}{dictionary}").as_bytes());
            match self.socket.recv(&mut answer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(answer.get(..length).unwrap_or_default());
                    if let Some(text) = text.strip_prefix(&cookie) {
                        return Ok(Answer(text.to_owned()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    thread::sleep(AGAIN_AFTER);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("no answer within {PATIENCE:?}")
    }
}

impl Command<'_> {
    /// As a dictionary.
    fn text(&self) -> String {
        let [from, to] = self.direction;
        let mut text = format!(
            "d{}{}{}{}9:directionl{}{}e3:ICE6:remove",
            pair("command", self.name),
            pair("call-id", self.call),
            pair("from-tag", self.from_tag),
            self.to_tag.map(|tag| pair("to-tag", tag)).unwrap_or_default(),
            string(from),
            string(to),
        );
        if let Some(description) = self.description {
            text += &pair("sdp", description);
        }
        text + "e"
    }
}

impl Answer {
    /// Where the first medium of the description in the answer is received.
    pub(crate) fn endpoint(&self) -> Result<SocketAddr> {
        let field = |start: &str| {
            let line = self.0.lines().find_map(|line| line.trim_end().strip_prefix(start).map(str::to_owned));
            line.with_context(|| format!("rtpengine's description has no line `{start}`: {}", self.0))
        };
        let address: IpAddr = field("c=IN IP4 ")?.parse()?;
        let media = field("m=video ")?;
        let port = media.split(' ').next().unwrap_or_default();
        Ok(SocketAddr::new(address, port.parse().with_context(|| format!("the port {port:?}"))?))
    }
}

fn pair(key: &str, value: &str) -> String {
    string(key) + &string(value)
}

fn string(text: &str) -> String {
    format!("{}:{text}", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_dictionary() {
        let command = Command {
            name: "delete",
            call: "a",
            from_tag: "camera",
            to_tag: None,
            description: None,
            direction: ["camera", "viewer"],
        };
        let expected =
            "d7:command6:delete7:call-id1:a8:from-tag6:camera9:directionl6:camera6:viewere3:ICE6:removee";
        assert_eq!(command.text(), expected);
    }

    #[test]
    fn the_endpoint_is_read_from_the_description() {
        let answer =
            Answer("d3:sdp3:v=0\r\nc=IN IP4 10.78.2.1\r\nt=0 0\r\nm=video 30000 RTP/AVP 96\r\ne".into());
        assert_eq!(answer.endpoint().unwrap(), "10.78.2.1:30000".parse().unwrap());
        assert!(Answer("d5:errore".into()).endpoint().is_err());
    }
}
