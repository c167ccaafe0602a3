//! Answers in pages. A token holds how many rows went before, what time it was for the first page, and which question it belongs to.

use api::v1;
use model::Error;
use prost::Message;
use sha2::{Digest, Sha256};

/// The most rows of a page.
const MOST_ROWS: u32 = 5_000;

/// One page of an answer.
pub(crate) struct Page {
    size: u32,
    /// Rows on the pages before.
    before: u32,
    /// What `now` is, UTC ms: for all pages what it was for the first.
    pub(crate) now_ms: i64,
    /// Of the question.
    digest: [u8; 16],
}

impl Page {
    /// The page that is asked for, if one is.
    pub(crate) fn of(request: &v1::QueryRequest, now_ms: i64) -> Result<Option<Self>, Error> {
        let v1::QueryRequest { query, options, page_size: size, page_token } = request;
        if *size == 0 && page_token.is_empty() {
            return Ok(None);
        }
        if !(1..=MOST_ROWS).contains(size) {
            return Err(Error::invalid("page_size", "MALFORMED", format!("must be 1 to {MOST_ROWS} rows")));
        }
        if query.as_ref().is_some_and(|query| query.totals) {
            let description = "go without pages: ask for them by themselves";
            return Err(Error::invalid("query.totals", "NOT_ALLOWED", description));
        }
        let digest = digest(query.as_ref(), options.as_ref());
        if page_token.is_empty() {
            return Ok(Some(Self { size: *size, before: 0, now_ms, digest }));
        }
        let token = read(page_token).filter(|(_, _, of)| *of == digest);
        match token {
            Some((before, now_ms, digest)) => Ok(Some(Self { size: *size, before, now_ms, digest })),
            None => {
                let description = "must be the `next_page_token` of an answer to this very question";
                Err(Error::invalid("page_token", "MALFORMED", description))
            }
        }
    }

    /// Asks for the rows of the page alone, and for one more if it can be there.
    pub(crate) fn narrow(&self, query: &mut v1::TypedQuery) -> Result<(), Error> {
        let left = if query.limit == 0 { u32::MAX } else { query.limit.saturating_sub(self.before) };
        query.limit = left.min(self.size + 1);
        let offset = query.offset.checked_add(self.before).filter(|_| left > 0);
        query.offset = offset.ok_or_else(|| Error::invalid("page_token", "MALFORMED", "lies behind the last page"))?;
        Ok(())
    }

    /// Takes the one row more away; the token of the next page, empty if there is none.
    pub(crate) fn cut(&self, result: &mut v1::Result) -> String {
        let more = result.rows.len() > self.size as usize;
        result.rows.truncate(self.size as usize);
        let cut = result.info.as_mut().is_some_and(|info| std::mem::take(&mut info.truncated));
        let before = self.before.checked_add(result.rows.len() as u32);
        match before.filter(|_| more || cut) {
            Some(before) => written(before, self.now_ms, &self.digest),
            None => String::new(),
        }
    }
}

fn digest(query: Option<&v1::TypedQuery>, options: Option<&v1::ReadOptions>) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(query.map(Message::encode_to_vec).unwrap_or_default());
    hash.update(options.map_or("", |options| options.time_zone.as_str()));
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

fn written(before: u32, now_ms: i64, digest: &[u8; 16]) -> String {
    format!("{before:x}-{now_ms:x}-{:032x}", u128::from_be_bytes(*digest))
}

fn read(token: &str) -> Option<(u32, i64, [u8; 16])> {
    let mut parts = token.split('-');
    let (before, now_ms, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let read = (
        u32::from_str_radix(before, 16).ok()?,
        i64::from_str_radix(now_ms, 16).ok()?,
        u128::from_str_radix(digest, 16).ok()?.to_be_bytes(),
    );
    // Only what was written here is read.
    (parts.next().is_none() && written(read.0, read.1, &read.2) == token).then_some(read)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(page_size: u32, page_token: &str) -> v1::QueryRequest {
        let query = v1::TypedQuery { limit: 5, offset: 1, ..v1::TypedQuery::default() };
        v1::QueryRequest { query: Some(query), page_size, page_token: page_token.into(), ..v1::QueryRequest::default() }
    }

    fn of_rows(rows: usize) -> v1::Result {
        v1::Result { rows: vec![v1::Row::default(); rows], ..v1::Result::default() }
    }

    #[test]
    fn pages_follow_one_another_to_the_limit() {
        let mut token = String::new();
        for (limit, offset, rows, left) in [(3, 1, 3, 2), (3, 3, 3, 2), (1, 5, 1, 1)] {
            let mut asked = request(2, &token);
            let page = Page::of(&asked, 7).unwrap().unwrap();
            let query = asked.query.as_mut().unwrap();
            page.narrow(query).unwrap();
            assert_eq!((query.limit, query.offset, page.now_ms), (limit, offset, 7));
            let mut result = of_rows(rows);
            token = page.cut(&mut result);
            assert_eq!(result.rows.len(), left);
        }
        assert_eq!(token, "");
        assert!(Page::of(&request(0, ""), 7).unwrap().is_none());
    }

    #[test]
    fn a_token_is_of_its_own_question_alone() {
        let first = Page::of(&request(2, ""), 7).unwrap().unwrap();
        let token = first.cut(&mut of_rows(3));
        assert_eq!(Page::of(&request(1, &token), 99).unwrap().unwrap().now_ms, 7, "pages may differ in size");
        let mut other = request(2, &token);
        other.query.as_mut().unwrap().limit = 6;
        assert!(Page::of(&other, 7).is_err());
        for bad in ["-", "0", &token[1..], &format!("{token}0"), &format!("{token}-0"), &token.to_uppercase(), "é-1-2"]
        {
            assert!(Page::of(&request(2, bad), 7).is_err(), "{bad}");
        }
        assert!(Page::of(&request(0, &token), 7).is_err());
        assert!(Page::of(&request(5_001, ""), 7).is_err());
    }
}
