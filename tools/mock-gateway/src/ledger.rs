//! Stores the provider's promises on disk: one line each, written before the answer is sent.

use crate::books::{Books, Record};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::Path,
};

/// None: the records are lost when the process ends.
pub struct Ledger(Option<File>);

impl Ledger {
    /// Opens the ledger with its records. A last line that a crash cut off was never promised, and
    /// is removed.
    pub fn open(path: Option<&Path>) -> Result<(Self, Books)> {
        let mut books = Books::default();
        let Some(path) = path else {
            return Ok((Self(None), books));
        };
        let shown = path.display();
        let text = match fs::read_to_string(path) {
            Err(why) if why.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read the ledger {shown}"))?,
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for (at, line) in (1..).zip(text[..whole].lines()) {
            let record = serde_json::from_str(line)
                .with_context(|| format!("line {at} of {shown} is no record of a ledger"))?;
            books.note(record);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write the ledger {shown}"))?;
        file.set_len(whole as u64)?;
        Ok((Self(Some(file)), books))
    }

    /// In one write: a process that is killed afterwards has it on disk.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let Some(file) = &mut self.0 else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.write_all(&line).context("the ledger cannot be written")?;
        file.flush().context("the ledger cannot be written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Charge;
    use events::{Money, OrderId, PaymentMethod};
    use std::env::temp_dir;

    fn approved(key: &str) -> Record {
        let (payment_method, amount) = (PaymentMethod::Pix, Money::cents(4990));
        let charge = Charge { order_id: OrderId::nil(), payment_method, amount };
        Record::Approved { key: key.into(), charge, reference: "CH-1".into() }
    }

    fn voided(key: &str) -> Record {
        Record::Voided { key: key.into() }
    }

    #[test]
    fn what_is_written_is_known_after_a_restart_and_a_torn_line_is_not() {
        let folder = temp_dir().join(format!("mock-gateway-{}", std::process::id()));
        let path = folder.join("ledger");
        let (mut ledger, _) = Ledger::open(Some(&path)).unwrap();
        ledger.append(&approved("a")).unwrap();
        drop(ledger);
        let mut torn = fs::read(&path).unwrap();
        torn.extend(br#"{"voided":{"key":"b"#);
        fs::write(&path, torn).unwrap();
        let (mut ledger, books) = Ledger::open(Some(&path)).unwrap();
        assert_eq!((books.look_up("a"), books.look_up("b")), (Some(&approved("a")), None));
        ledger.append(&voided("c")).unwrap();
        let (_, books) = Ledger::open(Some(&path)).unwrap();
        assert_eq!(books.look_up("c"), Some(&voided("c")));
        fs::remove_dir_all(folder).unwrap();
    }
}
