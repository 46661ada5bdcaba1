//! Writing XML: a root with the three fields that every message has, in a character set.

use std::fmt::Write as _;

use super::super::charset::Charset;
use super::super::id::DeviceId;

/// A message in the making.
pub(super) struct Writer {
    text: String,
    root: &'static str,
    charset: Charset,
}

impl Writer {
    pub(super) fn new(
        charset: Charset,
        root: &'static str,
        command: &str,
        number: u32,
        device: &DeviceId,
    ) -> Self {
        let text = format!("<?xml version=\"1.0\" encoding=\"{}\"?>\r\n<{root}>\r\n", charset.name());
        let mut writer = Self { text, root, charset };
        writer.field("CmdType", command).field("SN", number).field("DeviceID", device);
        writer
    }

    /// An element with a text.
    pub(super) fn field(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        let value = escape(&value.to_string());
        // Writing to a String cannot fail.
        let _ = write!(self.text, "<{name}>{value}</{name}>\r\n");
        self
    }

    /// Opens an element.
    pub(super) fn open(&mut self, name: &str) -> &mut Self {
        let _ = write!(self.text, "<{name}>\r\n");
        self
    }

    /// Closes it.
    pub(super) fn close(&mut self, name: &str) -> &mut Self {
        let _ = write!(self.text, "</{name}>\r\n");
        self
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let root = self.root;
        self.close(root);
        self.charset.encode(&self.text)
    }
}

/// What may stand between tags. Control characters may not, in any form.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
