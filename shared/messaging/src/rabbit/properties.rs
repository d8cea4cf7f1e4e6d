//! Checks without recursion whether amq-protocol can parse a message's properties. Pure.

/// Depth of nested tables and arrays. The parser recurses for each.
const DEPTH_MAX: usize = 16;

/// In the order of their flags, the highest bit first.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::Text),
    ("content_encoding", Kind::Text),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Fixed(1)),
    ("priority", Kind::Fixed(1)),
    ("correlation_id", Kind::Text),
    ("reply_to", Kind::Text),
    ("expiration", Kind::Text),
    ("message_id", Kind::Text),
    ("timestamp", Kind::Fixed(8)),
    ("type", Kind::Text),
    ("user_id", Kind::Text),
    ("app_id", Kind::Text),
    ("cluster_id", Kind::Text),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Table,
    Fixed(usize),
}

/// Why these properties, flags included, cannot be read.
pub fn flaw(properties: &[u8]) -> Option<String> {
    let mut rest = Reader(properties);
    let Some(flags) = rest.take(2).map(|flags| u16::from_be_bytes([flags[0], flags[1]])) else {
        return Some("its properties are cut off".into());
    };
    if flags & 0b11 != 0 {
        return Some("it has properties unknown to AMQP 0-9-1".into());
    }
    for (place, (name, kind)) in PROPERTIES.into_iter().enumerate() {
        if flags & (1 << (15 - place)) == 0 {
            continue;
        }
        let why = match kind {
            Kind::Text => rest.text().err(),
            Kind::Table => rest.table().err(),
            Kind::Fixed(size) => rest.take(size).is_none().then_some(Flaw::CutOff),
        };
        if let Some(why) = why {
            return Some(format!("its property {name} {}", why.told()));
        }
    }
    (!rest.0.is_empty()).then(|| "its properties are longer than declared".into())
}

/// The broker's names of exchange and routing key may be any bytes: they are unused here, so bytes
/// that are not text become question marks.
pub fn clean_routing(method: &mut [u8]) {
    const DELIVER: [u8; 4] = [0, 60, 0, 60];
    const GET_OK: [u8; 4] = [0, 60, 0, 71];
    const RETURN: [u8; 4] = [0, 60, 0, 50];
    let Some((id, rest)) = method.split_at_mut_checked(4) else { return };
    // Short strings, fixed bytes, short strings.
    let (before, fixed, after) = match [id[0], id[1], id[2], id[3]] {
        DELIVER => (1, 9, 2),
        GET_OK => (0, 9, 2),
        RETURN => (0, 2, 3),
        _ => return,
    };
    let rest = clean_texts(Some(rest), before);
    let rest = rest.and_then(|rest| Some(rest.split_at_mut_checked(fixed)?.1));
    clean_texts(rest, after);
}

fn clean_texts(bytes: Option<&mut [u8]>, count: usize) -> Option<&mut [u8]> {
    (0..count).fold(bytes, |rest, _| clean_text(rest?))
}

/// Cleans one short string; returns what comes after it.
fn clean_text(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let (length, rest) = bytes.split_first_mut()?;
    let (text, rest) = rest.split_at_mut_checked(usize::from(*length))?;
    if std::str::from_utf8(text).is_err() {
        text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    }
    Some(rest)
}

enum Flaw {
    CutOff,
    NoText,
    NoTextInTable,
    Deep,
    UnknownType(u8),
}

impl Flaw {
    fn told(&self) -> String {
        match self {
            Self::CutOff => "is cut off".into(),
            Self::NoText => "contains bytes that are not UTF-8".into(),
            Self::NoTextInTable => "contains a name that is not UTF-8".into(),
            Self::Deep => format!("is nested more than {DEPTH_MAX} deep"),
            Self::UnknownType(kind) => format!("contains a value of the unknown type 0x{kind:02x}"),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        let bytes = self.take(4)?;
        Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn text(&mut self) -> Result<(), Flaw> {
        let length = self.take(1).ok_or(Flaw::CutOff)?[0];
        let text = self.take(length.into()).ok_or(Flaw::CutOff)?;
        std::str::from_utf8(text).map(|_| ()).map_err(|_| Flaw::NoText)
    }

    fn table(&mut self) -> Result<(), Flaw> {
        let inside = self.length().and_then(|length| self.take(length)).ok_or(Flaw::CutOff)?;
        // The open containers, the innermost last: the remaining bytes, and whether the values have
        // names.
        let mut open = vec![(Reader(inside), true)];
        while let Some((innermost, is_table)) = open.last_mut() {
            if innermost.0.is_empty() {
                open.pop();
                continue;
            }
            if *is_table {
                innermost.text().map_err(|flaw| match flaw {
                    Flaw::NoText => Flaw::NoTextInTable,
                    other => other,
                })?;
            }
            let kind = innermost.take(1).ok_or(Flaw::CutOff)?[0];
            let size = match kind {
                b't' | b'b' | b'B' => 1,
                b's' | b'U' | b'u' => 2,
                b'I' | b'i' | b'f' => 4,
                b'D' => 5,
                b'L' | b'l' | b'd' | b'T' => 8,
                b'V' => 0,
                b'S' | b'x' | b'A' | b'F' => innermost.length().ok_or(Flaw::CutOff)?,
                unknown => return Err(Flaw::UnknownType(unknown)),
            };
            let value = innermost.take(size).ok_or(Flaw::CutOff)?;
            if matches!(kind, b'A' | b'F') {
                if open.len() == DEPTH_MAX {
                    return Err(Flaw::Deep);
                }
                open.push((Reader(value), kind == b'F'));
            }
        }
        Ok(())
    }
}
