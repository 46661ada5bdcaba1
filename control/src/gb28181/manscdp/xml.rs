//! A tree of whatever XML a device sends: stray ampersands, control bytes, wrong charsets, ends that match nothing and
//! texts that break off. It must not know what the elements mean.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::gb28181::charset;

/// How deep elements may lie in each other; the standard needs six.
const DEEPEST: usize = 16;

/// Elements of one document. A catalogue of 10,000 items needs more bytes than a message may have.
const MOST_ELEMENTS: usize = 100_000;

/// An element: its text, and the elements in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name, without a prefix.
    pub name: String,
    /// The text directly in it, as it was written between the tags.
    pub text: String,
    attributes: Vec<(String, String)>,
    elements: Vec<Element>,
}

/// A document, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The outermost element.
    pub root: Element,
    /// Whether something could not be read, or the end is not there.
    pub damaged: bool,
}

/// There is no element at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no XML: it has no element")]
pub struct XmlError;

impl Element {
    /// The first child of this name, without case.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.elements.iter().find(|element| element.name.eq_ignore_ascii_case(name))
    }

    /// All children of this name, without case.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.elements.iter().filter(move |element| element.name.eq_ignore_ascii_case(name))
    }

    /// The text of the first child of this name, trimmed, or of the attribute of this name, which some devices write
    /// instead. `None` where both are absent or empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let child = self.child(name).map(|element| element.text.trim());
        let attribute = || self.attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        child.or_else(|| Some(attribute()?.1.trim())).filter(|text| !text.is_empty())
    }
}

/// Reads a body.
///
/// # Errors
/// [`XmlError`] where there is no element.
pub fn read(body: &[u8]) -> Result<Document, XmlError> {
    let text = charset::decode(body);
    let text = clean(&text);
    let mut reader = Reader::from_str(&text);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    config.check_end_names = false;
    let mut tree = Tree::default();
    let damaged = loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                if !tree.open(&start) {
                    break true;
                }
            }
            Ok(Event::Empty(start)) => {
                if !tree.open(&start) {
                    break true;
                }
                tree.close(None);
            }
            Ok(Event::End(end)) => tree.close(Some(local(end.name().as_ref()))),
            Ok(Event::Text(text)) => tree.text(&text.into_inner()),
            Ok(Event::CData(text)) => tree.text(&text.into_inner()),
            Ok(Event::GeneralRef(reference)) => tree.text(&resolve(&reference.into_inner())),
            Ok(Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_)) => {}
            Ok(Event::Eof) => break !tree.open.is_empty(),
            // What came before counts.
            Err(_) => break true,
        }
    };
    while !tree.open.is_empty() {
        tree.close(None);
    }
    let root = tree.root.ok_or(XmlError)?;
    Ok(Document { root, damaged })
}

#[derive(Default)]
struct Tree {
    root: Option<Element>,
    open: Vec<Element>,
    count: usize,
}

impl Tree {
    /// Says whether there is room.
    fn open(&mut self, start: &BytesStart<'_>) -> bool {
        self.count += 1;
        if self.open.len() == DEEPEST || self.count > MOST_ELEMENTS {
            return false;
        }
        let mut element = Element { name: local(start.name().as_ref()).to_owned(), ..Element::default() };
        for attribute in start.attributes().with_checks(false).flatten() {
            let value = attribute.value.as_ref();
            element.attributes.push((local(attribute.key.as_ref()).to_owned(), unescape(value)));
        }
        self.open.push(element);
        true
    }

    /// Closes the innermost element of this name and what is open inside of it; nothing, if none has this name.
    fn close(&mut self, name: Option<&str>) {
        let depth = match name {
            Some(name) => self.open.iter().rposition(|element| element.name.eq_ignore_ascii_case(name)),
            None => self.open.len().checked_sub(1),
        };
        let Some(depth) = depth else { return };
        while self.open.len() > depth {
            let Some(closed) = self.open.pop() else { return };
            match self.open.last_mut() {
                Some(outer) => outer.elements.push(closed),
                // Whatever follows the first root is not the message.
                None => self.root = self.root.take().or(Some(closed)),
            }
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
    }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Without what XML forbids and devices send: control characters become spaces, and what follows the last `>` (padding, NUL)
/// goes.
fn clean(text: &str) -> Cow<'_, str> {
    let end = text.rfind('>').map_or(text.len(), |last| last + 1);
    let text = text.get(..end).unwrap_or(text).trim_start();
    let forbidden = |letter: char| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r');
    if text.contains(forbidden) { Cow::Owned(text.replace(forbidden, " ")) } else { Cow::Borrowed(text) }
}

/// The text of a reference, without `&` and `;`. One that nobody knows stays as it was written.
fn resolve(name: &str) -> Cow<'static, str> {
    let number = name.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => number.parse().ok(),
    });
    match (name, number.and_then(char::from_u32)) {
        (_, Some(letter)) if !letter.is_control() => Cow::Owned(letter.to_string()),
        ("amp", _) => "&".into(),
        ("lt", _) => "<".into(),
        ("gt", _) => ">".into(),
        ("quot", _) => "\"".into(),
        ("apos", _) => "'".into(),
        _ => Cow::Owned(format!("&{name};")),
    }
}

/// The value of an attribute.
fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        match after.split_once(';') {
            Some((name, after)) if !name.is_empty() && name.len() <= 8 => {
                text.push_str(&resolve(name));
                rest = after;
            }
            _ => {
                text.push('&');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root(text: &str) -> Document {
        read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn elements_attributes_and_references_are_read() {
        let document = root(
            "<?xml version='1.0'?>\n<a><B x='1 &lt; 2'>&amp;&#20013;&#x6587;&unknown;</B><c/><B>2</B></a>",
        );
        assert!(!document.damaged);
        assert_eq!(document.root.child("b").unwrap().text("X"), Some("1 < 2"));
        assert_eq!(document.root.text("b"), Some("&中文&unknown;"));
        assert_eq!(document.root.children("B").count(), 2);
        assert_eq!(document.root.text("c"), None);
    }

    #[test]
    fn stray_ampersand_is_text() {
        let document = root("<a><Name>R&D & B&B</Name><x>1</x></a>");
        assert_eq!(document.root.text("Name"), Some("R&D & B&B"));
        assert_eq!(document.root.text("x"), Some("1"));
    }

    #[test]
    fn control_characters_and_padding_are_no_harm() {
        let document = root("\u{1}\r\n<a><Name>gate\u{1}\u{0}7</Name></a>\0\0\u{3}");
        assert_eq!((document.root.text("Name"), document.damaged), (Some("gate  7"), false));
    }

    #[test]
    fn text_that_breaks_off_counts_as_far_as_it_goes() {
        let document = root("<a><b>1</b><c><d>2</d><e>3");
        assert!(document.damaged);
        assert_eq!(document.root.text("b"), Some("1"));
        assert_eq!(document.root.child("c").unwrap().text("d"), Some("2"));
    }

    #[test]
    fn ends_that_match_nothing_are_ignored_and_missing_ones_are_added() {
        let document = root("<a><b>1</x></b><c><d>2</c><e>3</e></a>");
        assert_eq!(document.root.text("b"), Some("1"));
        assert_eq!(document.root.child("c").unwrap().text("d"), Some("2"));
        assert_eq!(document.root.text("e"), Some("3"));
    }

    #[test]
    fn depth_is_bounded_and_entities_are_not_expanded() {
        let deep = "<a>".repeat(1_000);
        assert!(root(&deep).damaged);
        let bomb = root("<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\">]><a>&b;&b;</a>");
        assert_eq!(bomb.root.text, "&b;&b;");
        assert_eq!(read(b"no xml"), Err(XmlError));
        assert_eq!(read(b""), Err(XmlError));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_document_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_tags_are_a_document_or_refused(text in "(<[/]?[a-c ]{1,3}[/]?>|&[a-z#0-9;]{0,4}|[<>&'\"=x ]){0,40}") {
            let _ = read(text.as_bytes());
        }
    }
}
