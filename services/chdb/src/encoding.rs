//! HTTP content encodings: pull decoders for request bodies, push encoders for streamed results.

use std::io::{self, Read, Write};

use crate::error::QueryError;

/// A content encoding that both directions know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    /// The zlib format, as HTTP means it.
    Deflate,
    Zstd,
    /// The LZ4 frame format.
    Lz4,
}

impl Encoding {
    /// Its `Content-Encoding`; `None` for the identity.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
            Self::Zstd => Some("zstd"),
            Self::Lz4 => Some("lz4"),
        }
    }

    fn known(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Deflate, Self::Zstd, Self::Lz4]
            .into_iter()
            .find(|e| e.name().is_some_and(|n| n.eq_ignore_ascii_case(name.trim())))
    }

    /// The encoding of a body from its `Content-Encoding`.
    pub(crate) fn of_body(header: &str) -> Result<Self, QueryError> {
        match header.trim() {
            "" | "identity" => Ok(Self::Identity),
            name => Self::known(name).ok_or_else(|| {
                QueryError::unknown_compression(format!(
                    "Unknown Content-Encoding '{name}': gzip, deflate, zstd, lz4 are known."
                ))
            }),
        }
    }

    /// The first encoding of an `Accept-Encoding` list that is known and not refused with `q=0`.
    pub(crate) fn accepted(header: &str) -> Self {
        header
            .split(',')
            .filter_map(|item| {
                let (name, quality) = item.split_once(';').unwrap_or((item, ""));
                let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
                if refused { None } else { Self::known(name) }
            })
            .next()
            .unwrap_or(Self::Identity)
    }

    /// The raw bytes of `body`.
    pub(crate) fn decoder<R: Read + Send + 'static>(self, body: R) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Identity => Box::new(body),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
            Self::Deflate => Box::new(flate2::read::ZlibDecoder::new(body)),
            Self::Zstd => Box::new(zstd::Decoder::new(body)?),
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(body)),
        })
    }
}

/// Encodes a result piece by piece; every piece can be decoded as soon as it has arrived.
pub(crate) enum Encoder {
    Identity,
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Deflate(flate2::write::ZlibEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(encoding: Encoding) -> io::Result<Self> {
        let fast = flate2::Compression::fast();
        Ok(match encoding {
            Encoding::Identity => Self::Identity,
            Encoding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), fast)),
            Encoding::Deflate => Self::Deflate(flate2::write::ZlibEncoder::new(Vec::new(), fast)),
            Encoding::Zstd => Self::Zstd(zstd::Encoder::new(Vec::new(), 1)?),
            Encoding::Lz4 => {
                let frame = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max1MB);
                Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new())))
            }
        })
    }

    /// The encoded bytes of `data`.
    pub(crate) fn push(&mut self, data: Vec<u8>) -> io::Result<Vec<u8>> {
        fn through(encoder: &mut impl Write, data: &[u8]) -> io::Result<()> {
            encoder.write_all(data)?;
            encoder.flush()
        }
        match self {
            Self::Identity => return Ok(data),
            Self::Gzip(encoder) => through(encoder, &data)?,
            Self::Deflate(encoder) => through(encoder, &data)?,
            Self::Zstd(encoder) => through(encoder, &data)?,
            Self::Lz4(encoder) => through(encoder, &data)?,
        }
        Ok(match self {
            Self::Identity => Vec::new(),
            Self::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Self::Deflate(encoder) => std::mem::take(encoder.get_mut()),
            Self::Zstd(encoder) => std::mem::take(encoder.get_mut()),
            Self::Lz4(encoder) => std::mem::take(encoder.get_mut()),
        })
    }

    /// What closes the encoded stream.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_round_trips_piece_by_piece() {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Lz4] {
            let mut encoder = Encoder::new(encoding).unwrap();
            let mut wire = Vec::new();
            for piece in ["hello ".repeat(1000), String::new(), "world".repeat(3)] {
                wire.extend(encoder.push(piece.into_bytes()).unwrap());
            }
            wire.extend(encoder.finish().unwrap());
            let mut raw = String::new();
            encoding.decoder(io::Cursor::new(wire)).unwrap().read_to_string(&mut raw).unwrap();
            assert_eq!(raw, "hello ".repeat(1000) + &"world".repeat(3), "{encoding:?}");
        }
    }

    #[test]
    fn the_first_known_encoding_is_taken() {
        assert_eq!(Encoding::accepted("br, lz4, zstd"), Encoding::Lz4);
        assert_eq!(Encoding::accepted("gzip;q=0, zstd;q=0.5"), Encoding::Zstd);
        assert_eq!(Encoding::accepted("*"), Encoding::Identity);
        assert_eq!(Encoding::of_body("GZIP").unwrap(), Encoding::Gzip);
        assert_eq!(Encoding::of_body("br").unwrap_err().code, 89);
    }
}
