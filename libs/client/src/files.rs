//! A queue in the files of a directory, which one client has at a time: it outlives the process. Memory holds where records are, not what
//! they say.
//!
//! In files a record is a header, the record's length and its CRC-32, both four bytes, little endian, and then the record. Files are named
//! by number; `sent` says up to where in which file all was acknowledged. What a crash cut off at the end of a file is cut off at the next
//! start. The clients in other languages keep the same form.
//!
//! Nothing is synced: each record is written before `add` returns, so that it outlives the process; a power cut may take the last ones. If it
//! takes the last word of `sent`, acknowledged events are sent again, and count once.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::store::{Store, fit};

const HEADER_BYTES: usize = 8;
const SENT_BYTES: usize = 20;
const FILE_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    _lock: File,
    sent: File,
    /// Of each record, with its header.
    sizes: VecDeque<usize>,
    /// At least one.
    parts: VecDeque<Part>,
    /// Where the first record lies in the first file.
    at: u64,
    bytes: usize,
    tail: File,
    tail_bytes: u64,
    reading: Option<(u64, File)>,
}

/// A file, and how many of its records are still there.
#[derive(Debug)]
struct Part {
    number: u64,
    there: usize,
}

impl Files {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(
                ErrorKind::WouldBlock,
                format!("another client has {}, each needs a directory of its own", dir.display()),
            ),
        })?;
        let (sent, first, start) = read_sent(dir)?;
        let (mut parts, mut sizes, mut last, mut at) = (VecDeque::new(), VecDeque::new(), first, 0);
        for number in numbers(dir)? {
            let path = path(dir, number);
            if number < first {
                fs::remove_file(path)?;
                continue;
            }
            let from = if number == first { start } else { 0 };
            let found = scan(&path, from)?;
            if parts.is_empty() {
                at = from;
            }
            parts.push_back(Part { number, there: found.len() });
            sizes.extend(found);
            last = number;
        }
        // Always a new file: the end of an old one is never written again.
        let tail = create(dir, last + 1)?;
        parts.push_back(Part { number: last + 1, there: 0 });
        let bytes = sizes.iter().sum();
        let dir = dir.to_owned();
        let mut files = Self { dir, _lock: lock, sent, sizes, parts, at, bytes, tail, tail_bytes: 0, reading: None };
        files.tidy()?;
        Ok(files)
    }

    /// Deletes the files before the last of which nothing is left.
    fn tidy(&mut self) -> io::Result<()> {
        while self.parts.len() > 1 {
            let Some(part) = self.parts.front().filter(|part| part.there == 0) else { break };
            fs::remove_file(path(&self.dir, part.number))?;
            self.parts.pop_front();
            self.at = 0;
        }
        Ok(())
    }

    fn reader(&mut self, number: u64) -> io::Result<&mut File> {
        let open = self.reading.take().filter(|(of, _)| *of == number);
        let open = match open {
            Some(open) => open,
            None => (number, File::open(path(&self.dir, number))?),
        };
        Ok(&mut self.reading.insert(open).1)
    }
}

impl Store for Files {
    fn records(&self) -> usize {
        self.sizes.len()
    }

    fn size(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, record: Bytes) -> io::Result<()> {
        if self.tail_bytes >= FILE_BYTES {
            let number = self.parts.back().map_or(1, |part| part.number + 1);
            self.tail = create(&self.dir, number)?;
            self.tail_bytes = 0;
            self.parts.push_back(Part { number, there: 0 });
        }
        let length = u32::try_from(record.len()).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut written = Vec::with_capacity(HEADER_BYTES + record.len());
        written.extend(length.to_le_bytes());
        written.extend(crc32fast::hash(&record).to_le_bytes());
        written.extend_from_slice(&record);
        let put = self.tail.seek(SeekFrom::Start(self.tail_bytes)).and_then(|_| self.tail.write_all(&written));
        if let Err(error) = put {
            // Half a record would hide what follows; what comes next is written over it anyway.
            let _ = self.tail.set_len(self.tail_bytes);
            return Err(error);
        }
        self.tail_bytes += written.len() as u64;
        if let Some(part) = self.parts.back_mut() {
            part.there += 1;
        }
        self.sizes.push_back(written.len());
        self.bytes += written.len();
        Ok(())
    }

    fn first(&mut self, most: usize, most_bytes: usize) -> io::Result<Vec<Bytes>> {
        let Some(&Part { number, there }) = self.parts.front() else { return Ok(Vec::new()) };
        let count = fit(self.sizes.iter().take(most.min(there)).copied(), most_bytes);
        let mut data = vec![0; self.sizes.iter().take(count).sum()];
        let at = self.at;
        let reader = self.reader(number)?;
        reader.seek(SeekFrom::Start(at))?;
        reader.read_exact(&mut data)?;
        let mut data = Bytes::from(data);
        Ok(self.sizes.iter().take(count).map(|size| data.split_to(*size).slice(HEADER_BYTES..)).collect())
    }

    fn forget(&mut self, count: usize) -> io::Result<()> {
        let Some(part) = self.parts.front_mut() else { return Ok(()) };
        part.there = part.there.saturating_sub(count);
        let number = part.number;
        let gone: usize = self.sizes.drain(..count.min(self.sizes.len())).sum();
        self.at += gone as u64;
        self.bytes -= gone;
        let mut place = Vec::with_capacity(SENT_BYTES);
        place.extend(number.to_le_bytes());
        place.extend(self.at.to_le_bytes());
        place.extend(crc32fast::hash(&place).to_le_bytes());
        // In one write: read again, it is right or, torn, as if it weren't there.
        self.sent.seek(SeekFrom::Start(0))?;
        self.sent.write_all(&place)?;
        self.tidy()
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.queue"))
}

fn create(dir: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path(dir, number))
}

fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".queue")?.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Up to where in which file all was acknowledged.
fn read_sent(dir: &Path) -> io::Result<(File, u64, u64)> {
    let mut sent = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("sent"))?;
    let mut place = Vec::new();
    sent.read_to_end(&mut place)?;
    let number =
        |from: usize| place.get(from..from + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let crc = place.get(16..SENT_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let right = crc.is_some() && place.get(..16).map(crc32fast::hash) == crc;
    if let (true, Some(part), Some(at)) = (right, number(0), number(8)) {
        return Ok((sent, part, at));
    }
    sent.seek(SeekFrom::Start(0))?;
    sent.write_all(&[0; SENT_BYTES])?; // a full disk shows now
    Ok((sent, 0, 0))
}

/// The sizes of a file's whole records; cuts off what follows them.
fn scan(path: &Path, start: u64) -> io::Result<Vec<usize>> {
    let data = fs::read(path)?;
    let (mut sizes, mut at) = (Vec::new(), usize::try_from(start).unwrap_or(usize::MAX));
    while let Some(size) = data.get(at..).and_then(whole) {
        sizes.push(size);
        at += size;
    }
    if at < data.len() {
        OpenOptions::new().write(true).open(path)?.set_len(at as u64)?;
    }
    Ok(sizes)
}

/// The size of the record that the data begin with, if they do.
fn whole(data: &[u8]) -> Option<usize> {
    let (length, rest) = data.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let record = rest.get(..length)?;
    (length > 0 && crc32fast::hash(record) == u32::from_le_bytes(*crc)).then_some(HEADER_BYTES + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(dir: &Path, records: &[&'static str]) -> Files {
        let mut files = Files::open(dir).unwrap();
        records.iter().for_each(|record| files.add(Bytes::from_static(record.as_bytes())).unwrap());
        files
    }

    fn left(files: &mut Files) -> Vec<String> {
        let mut left = Vec::new();
        while files.records() > 0 {
            let batch = files.first(100, 1 << 20).unwrap();
            left.extend(batch.iter().map(|record| String::from_utf8(record.to_vec()).unwrap()));
            files.forget(batch.len()).unwrap();
        }
        left
    }

    #[test]
    fn what_is_queued_is_there_again_but_for_what_was_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = queue(dir.path(), &["a", "b"]);
        files.forget(1).unwrap();
        drop(files);
        drop(queue(dir.path(), &["c"]));
        let mut files = queue(dir.path(), &["d"]);
        assert_eq!((files.records(), left(&mut files)), (3, vec!["b".into(), "c".into(), "d".into()]));
        drop(files);
        assert_eq!(queue(dir.path(), &[]).records(), 0);
    }

    #[test]
    fn a_tail_torn_anywhere_costs_the_torn_record_alone() {
        for cut in 1..HEADER_BYTES + 4 {
            let dir = tempfile::tempdir().unwrap();
            drop(queue(dir.path(), &["whole", "torn"]));
            let file = path(dir.path(), 1);
            let length = fs::metadata(&file).unwrap().len();
            OpenOptions::new().write(true).open(&file).unwrap().set_len(length - cut as u64).unwrap();
            assert_eq!(left(&mut queue(dir.path(), &["next"])), ["whole", "next"], "{cut} bytes less");
        }
    }

    #[test]
    fn a_flipped_bit_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        drop(queue(dir.path(), &["whole", "wrong"]));
        let file = path(dir.path(), 1);
        let mut data = fs::read(&file).unwrap();
        *data.last_mut().unwrap() ^= 1;
        fs::write(&file, data).unwrap();
        assert_eq!(left(&mut queue(dir.path(), &[])), ["whole"]);
    }

    #[test]
    fn a_torn_word_of_what_was_sent_sends_it_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = queue(dir.path(), &["a", "b"]);
        files.forget(1).unwrap();
        drop(files);
        fs::write(dir.path().join("sent"), [1, 2, 3]).unwrap();
        assert_eq!(left(&mut queue(dir.path(), &[])), ["a", "b"]);
    }

    #[test]
    fn one_client_has_a_directory_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = queue(dir.path(), &["a"]);
        assert_eq!(Files::open(dir.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(first);
        Files::open(dir.path()).unwrap();
    }

    #[test]
    fn files_go_when_all_in_them_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        let record = Bytes::from(vec![7; 1 << 20]);
        (0..10).for_each(|_| files.add(record.clone()).unwrap());
        assert_eq!(numbers(dir.path()).unwrap(), [1, 2, 3]);
        while files.records() > 0 {
            let batch = files.first(3, usize::MAX).unwrap();
            assert!(batch.iter().all(|read| *read == record));
            files.forget(batch.len()).unwrap();
        }
        assert_eq!((numbers(dir.path()).unwrap(), files.size()), (vec![3], 0));
    }
}
