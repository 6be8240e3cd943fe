//! Content codings: gzip, br and zstd, read in bounded steps and written in one piece.
//!
//! Pure. A coding nobody here knows, or two on top of each other, is left alone by the callers.

use std::io::Write;

use brotli::enc::BrotliEncoderParams;
use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue};
use thiserror::Error;
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

#[cfg(test)]
mod tests;

/// What is decoded at a time.
const STEP_BYTES: usize = 64 * 1024;
/// Windows of zstd, as a power of two: the most that RFC 9659 allows over HTTP.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Windows of gzip; deflate has no larger one.
const GZIP_WINDOW_BITS: u8 = 15;
/// A body may grow by this factor when it is decoded. Text seldom shrinks to a twentieth; a body
/// made to exhaust its reader shrinks to a thousandth.
pub const RATIO_MAX: usize = 250;
/// Whatever the factor, so much is allowed: what a few bytes may let out of a coding at once.
const FREE_BYTES: usize = 1 << 20;
/// Levels at which an answer costs about as much time to write as to send.
const GZIP_LEVEL: u32 = 4;
const BROTLI_QUALITY: i32 = 4;
const BROTLI_WINDOW: i32 = 20;
const ZSTD_LEVEL: i32 = 3;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `zstd`
    Zstd,
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It is not what its coding says, or has more or less than one whole body.
    #[error("the body is not in its content coding")]
    Garbled,
    /// It decodes to more than [`RATIO_MAX`] times its length, or than its reader takes.
    #[error("the body is too long once it is decoded")]
    TooLong,
}

impl DecodeError {
    /// The reason as a label, from a closed set.
    pub fn reason(self) -> &'static str {
        match self {
            DecodeError::Garbled => "bad-encoding",
            DecodeError::TooLong => "too-long",
        }
    }
}

impl Coding {
    /// All, those that serve best first.
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// The name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    fn named(name: &str) -> Option<Coding> {
        let is = |coding: &Coding| name.eq_ignore_ascii_case(coding.name());
        let old = name.eq_ignore_ascii_case("x-gzip").then_some(Coding::Gzip);
        Coding::ALL.into_iter().find(is).or(old)
    }

    /// The one coding of a message's body, if it is one of these.
    pub fn of(headers: &HeaderMap) -> Option<Coding> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let value = values.next()?;
        let only = values.next().is_none();
        Coding::named(value.to_str().ok()?.trim()).filter(|_| only)
    }

    /// The coding that a client likes best of these; `None` if it wants none.
    pub fn accepted(headers: &HeaderMap) -> Option<Coding> {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        let offers = values.filter_map(|v| v.to_str().ok()).flat_map(offers);
        let offers: Vec<(&str, u16)> = offers.collect();
        let weight = |coding: Coding| {
            let named = |name: &str| Coding::named(name) == Some(coding);
            let own = offers.iter().find(|(name, _)| named(name));
            let any = offers.iter().find(|(name, _)| *name == "*");
            own.or(any).map_or(0, |(_, weight)| *weight)
        };
        let mut best = None;
        for coding in Coding::ALL {
            let weight = weight(coding);
            if weight > best.map_or(0, |(_, best)| best) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }

    /// The value of `Content-Encoding`.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// `body` in this coding. `None` only if the system has no memory for it.
    pub fn encode(self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Coding::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL).ok(),
            Coding::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: BROTLI_WINDOW,
                    size_hint: body.len(),
                    ..BrotliEncoderParams::default()
                };
                let mut encoded = Vec::new();
                brotli::BrotliCompress(&mut &*body, &mut encoded, &params).ok()?;
                Some(encoded)
            }
        }
    }

    /// The whole of an encoded body, at most `bytes_max` bytes of it.
    pub fn decode(self, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(self)?;
        let mut decoded = Vec::new();
        decoder.push(body, &mut |piece| {
            if piece.len() > bytes_max - decoded.len() {
                return Err(DecodeError::TooLong);
            }
            decoded.extend_from_slice(piece);
            Ok(())
        })?;
        match decoder.is_done() {
            true => Ok(decoded),
            false => Err(DecodeError::Garbled),
        }
    }
}

/// Names and weights (in thousandths) of an `Accept-Encoding` value. A weight nobody can read counts
/// as none.
fn offers(value: &str) -> impl Iterator<Item = (&str, u16)> {
    value.split(',').map(|offer| {
        let (name, parameters) = offer.split_once(';').unwrap_or((offer, ""));
        let weight = parameters.trim().strip_prefix("q=");
        let weight = match weight {
            None if parameters.trim().is_empty() => 1000,
            None => 0,
            Some(weight) => match weight.trim().parse::<f32>() {
                Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
                _ => 0,
            },
        };
        (name.trim(), weight)
    })
}

/// Decodes a body as it arrives.
pub struct Decoder {
    engine: Engine,
    done: bool,
    taken: usize,
    given: usize,
    buffer: Vec<u8>,
}

enum Engine {
    Gzip(Decompress),
    Zstd(zstd::stream::raw::Decoder<'static>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
}

/// How far one step came: bytes taken and given, and whether the body is whole.
struct Step {
    taken: usize,
    given: usize,
    done: bool,
}

impl Decoder {
    /// A decoder at the beginning of a body.
    pub fn new(coding: Coding) -> Result<Decoder, DecodeError> {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Decompress::new_gzip(GZIP_WINDOW_BITS)),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Engine::Brotli(Box::new(BrotliState::new(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => {
                let mut decoder =
                    zstd::stream::raw::Decoder::new().map_err(|_| DecodeError::Garbled)?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
                    .map_err(|_| DecodeError::Garbled)?;
                Engine::Zstd(decoder)
            }
        };
        Ok(Decoder {
            engine,
            done: false,
            taken: 0,
            given: 0,
            buffer: vec![0; STEP_BYTES],
        })
    }

    /// Takes the next piece of the body, cut anywhere, and hands on what it decodes to in pieces of
    /// at most 64 KiB; all of them together at most [`RATIO_MAX`] times as long as what was taken.
    pub fn push(
        &mut self,
        piece: &[u8],
        on_piece: &mut impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.taken = self.taken.saturating_add(piece.len());
        let given_max = self.taken.saturating_mul(RATIO_MAX).max(FREE_BYTES);
        let mut rest = piece;
        loop {
            if self.done {
                return match rest.is_empty() {
                    true => Ok(()),
                    false => Err(DecodeError::Garbled),
                };
            }
            let step = self.engine.step(rest, &mut self.buffer)?;
            self.done = step.done;
            rest = rest.get(step.taken..).ok_or(DecodeError::Garbled)?;
            let decoded = self.buffer.get(..step.given).unwrap_or_default();
            if !decoded.is_empty() {
                self.given = self.given.saturating_add(decoded.len());
                if self.given > given_max {
                    return Err(DecodeError::TooLong);
                }
                on_piece(decoded)?;
            }
            // A full buffer may leave more behind, although all input was taken.
            let full = step.given == self.buffer.len();
            if rest.is_empty() && !full {
                return Ok(());
            }
            if step.taken == 0 && step.given == 0 && !step.done {
                return Err(DecodeError::Garbled);
            }
        }
    }

    /// Whether the body is whole.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl Engine {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        match self {
            Engine::Gzip(decompress) => {
                let before = (decompress.total_in(), decompress.total_out());
                let status = decompress
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(|_| DecodeError::Garbled)?;
                Ok(Step {
                    taken: (decompress.total_in() - before.0) as usize,
                    given: (decompress.total_out() - before.1) as usize,
                    done: status == Status::StreamEnd,
                })
            }
            Engine::Zstd(decoder) => {
                let mut input = InBuffer::around(input);
                let mut output = OutBuffer::around(output);
                let hint = decoder
                    .run(&mut input, &mut output)
                    .map_err(|_| DecodeError::Garbled)?;
                Ok(Step {
                    taken: input.pos(),
                    given: output.pos(),
                    done: hint == 0,
                })
            }
            Engine::Brotli(state) => {
                let (mut available_in, mut taken) = (input.len(), 0);
                let (mut available_out, mut given) = (output.len(), 0);
                let mut total = 0;
                let result = BrotliDecompressStream(
                    &mut available_in,
                    &mut taken,
                    input,
                    &mut available_out,
                    &mut given,
                    output,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(DecodeError::Garbled),
                    result => Ok(Step {
                        taken,
                        given,
                        done: matches!(result, BrotliResult::ResultSuccess),
                    }),
                }
            }
        }
    }
}
