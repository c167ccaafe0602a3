use ahash::RandomState;

use super::native::put_varuint;

/// Distinct texts numbered in the order they first came: the keys of a LowCardinality column.
///
/// All texts lie in one buffer behind one open-addressing table, so that a text that is known costs one hash and one
/// comparison, and a text like the one before only the comparison.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// All texts, one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
    /// Position + 1 of the text whose hash leads here, 0 where none is; a power of two long, at most half full.
    table: Vec<u32>,
    last: Option<u32>,
    hasher: RandomState,
}

impl Dictionary {
    /// The text's number; it is added if it is new.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(last) = self.last
            && self.text(last) == text.as_bytes()
        {
            return last;
        }
        let hash = self.hasher.hash_one(text);
        if 2 * (self.ends.len() + 1) > self.table.len() {
            self.grow();
        }
        let number = self.find_or_add(text, hash);
        self.last = Some(number);
        number
    }

    fn find_or_add(&mut self, text: &str, hash: u64) -> u32 {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.table[at] {
                0 => break,
                entry => {
                    let number = entry - 1;
                    if self.hashes[number as usize] == hash && self.text(number) == text.as_bytes() {
                        return number;
                    }
                }
            }
            at = (at + 1) & mask;
        }
        let number = self.ends.len() as u32;
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
        self.hashes.push(hash);
        self.table[at] = number + 1;
        number
    }

    fn grow(&mut self) {
        let len = (2 * self.table.len()).max(16);
        self.table.clear();
        self.table.resize(len, 0);
        for (number, hash) in (1u32..).zip(&self.hashes) {
            let mut at = *hash as usize & (len - 1);
            while self.table[at] != 0 {
                at = (at + 1) & (len - 1);
            }
            self.table[at] = number;
        }
    }

    fn text(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[start..self.ends[number]]
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all texts together.
    pub(super) fn text_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the texts as a String column.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for number in 0..self.ends.len() as u32 {
            let text = self.text(number);
            put_varuint(text.len() as u64, out);
            out.extend_from_slice(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_one_number_in_the_order_of_arrival() {
        let mut dictionary = Dictionary::default();
        let texts: Vec<String> = (0..5000).map(|i| format!("text {i}")).collect();
        for (number, text) in (0..).zip(&texts) {
            assert_eq!(dictionary.number(text), number);
        }
        for (number, text) in (0..).zip(&texts) {
            assert_eq!(dictionary.number(text), number);
            assert_eq!(dictionary.number(text), number);
        }
        assert_eq!(dictionary.number(""), 5000);
        assert_eq!(dictionary.number(""), 5000);
        assert_eq!(dictionary.len(), 5001);
    }
}
