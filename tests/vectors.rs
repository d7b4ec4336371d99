//! The golden bytes of PROTOCOL sections 2 to 5, from an encoder that shares no
//! code with this library: decoded and encoded, whole, cut and split at every byte.

use std::fmt::Debug;

use asyncserver::wire::*;
use bytes::BytesMut;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Clone, Deserialize)]
struct Vector {
    name: String,
    kind: String,
    byte_order: Option<String>,
    #[serde(default)]
    canonical: bool,
    bytes: String,
    payload: Option<String>,
    code: Option<u8>,
    id: Option<u32>,
    error_code: Option<u8>,
    version: Option<u8>,
    features: Option<u32>,
    accepted: Option<u32>,
    granted: Option<u32>,
    max_in_flight: Option<u32>,
    max_message_bytes: Option<u32>,
    idle_limit_s: Option<u32>,
    processing_interval_s: Option<u32>,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        let digits = self.bytes.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.map(|pair| byte(pair).unwrap()).collect()
    }

    fn order(&self) -> ByteOrder {
        match self.byte_order.as_deref() {
            Some("little") => ByteOrder::Little,
            _ => ByteOrder::Big,
        }
    }

    /// `pattern:N` is N bytes, byte i = i mod 251.
    fn payload(&self) -> Vec<u8> {
        let payload = self.payload.as_deref().unwrap_or("pattern:0");
        let length: usize = payload.strip_prefix("pattern:").unwrap().parse().unwrap();
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    fn id(&self) -> TaskId {
        TaskId(self.id.unwrap())
    }

    fn negotiated(&self) -> Negotiated {
        Negotiated {
            version: self.version.unwrap(),
            granted: Features::from_bits(self.granted.unwrap()),
            max_in_flight: self.max_in_flight.unwrap(),
            max_message_bytes: self.max_message_bytes.unwrap(),
            idle_limit_s: self.idle_limit_s.unwrap(),
            processing_interval_s: self.processing_interval_s.unwrap(),
        }
    }
}

fn vectors(kinds: &[&str]) -> Vec<Vector> {
    let text = include_str!("vectors/vectors.json");
    let all: Vectors = serde_json::from_str(text).unwrap();
    let mine = all.vectors.into_iter();
    let mine: Vec<_> = mine
        .filter(|vector| kinds.contains(&vector.kind.as_str()))
        .collect();
    assert!(!mine.is_empty(), "{kinds:?}");
    mine
}

const REQUESTS: [&str; 2] = ["request", "negotiate"];
const RESPONSES: [&str; 5] = ["ok", "error", "goodbye", "processing", "negotiated"];

/// One step of a decoder, with payload copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step<H> {
    Header(H),
    Payload(Vec<u8>),
    End,
}

/// Runs of payload become one: where they are cut has no meaning (N5).
fn joined<H>(steps: Vec<Step<H>>) -> Vec<Step<H>> {
    let mut joined: Vec<Step<H>> = Vec::new();
    for step in steps {
        match (joined.last_mut(), step) {
            (Some(Step::Payload(before)), Step::Payload(more)) => before.extend(more),
            (_, step) => joined.push(step),
        }
    }
    joined
}

/// Decodes a stream that comes in these pieces.
trait Decode: Clone {
    type Header: Debug + PartialEq + Clone;
    fn step(&mut self, buffer: &[u8], at: &mut usize) -> Option<Step<Self::Header>>;

    fn decode(mut self, pieces: &[&[u8]]) -> (Vec<Step<Self::Header>>, Self) {
        let mut steps = Vec::new();
        for piece in pieces {
            let mut at = 0;
            while let Some(step) = self.step(piece, &mut at) {
                steps.push(step);
            }
            assert_eq!(at, piece.len(), "a decoder takes all that it is given");
        }
        (joined(steps), self)
    }
}

impl Decode for RequestDecoder {
    type Header = RequestHeader;
    fn step(&mut self, buffer: &[u8], at: &mut usize) -> Option<Step<RequestHeader>> {
        Some(match self.next(buffer, at)? {
            RequestPart::Header(header) => Step::Header(header),
            RequestPart::Payload(range) => Step::Payload(buffer[range].to_vec()),
            RequestPart::End => Step::End,
        })
    }
}

impl Decode for ResponseDecoder {
    type Header = Response;
    fn step(&mut self, buffer: &[u8], at: &mut usize) -> Option<Step<Response>> {
        Some(match self.next(buffer, at).unwrap()? {
            ResponsePart::Response(response) => Step::Header(response),
            ResponsePart::Payload(range) => Step::Payload(buffer[range].to_vec()),
            ResponsePart::End => Step::End,
        })
    }
}

/// Every cut of a short vector, a stride and both ends of a long one.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let stride = if length > 2048 { 97 } else { 1 };
    (1..length).filter(move |at| at % stride == 0 || *at < 300 || length - *at < 300)
}

fn split_in_two_decodes_the_same<D: Decode>(decoder: &D, bytes: &[u8], name: &str) {
    let (whole, _) = decoder.clone().decode(&[bytes]);
    for cut in cuts(bytes.len()) {
        let (split, _) = decoder.clone().decode(&[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(split, whole, "{name}, split at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(
        decoder.clone().decode(&single).0,
        whole,
        "{name}, byte by byte"
    );
}

fn request_header(vector: &Vector) -> RequestHeader {
    let code = vector.code.map_or(TaskCode::NEGOTIATE, TaskCode);
    RequestHeader {
        code,
        id: vector.id(),
    }
}

fn request_payload(vector: &Vector) -> Vec<u8> {
    if vector.kind == "request" {
        return vector.payload();
    }
    let mut payload = BytesMut::new();
    let features = Features::from_bits(vector.features.unwrap());
    let version = vector.version.unwrap();
    Negotiate { version, features }.encode(vector.order(), &mut payload);
    payload.to_vec()
}

fn response_and_payload(vector: &Vector) -> (Response, Option<Vec<u8>>) {
    match vector.kind.as_str() {
        "ok" => (Response::Ok(vector.id()), Some(vector.payload())),
        "negotiated" => {
            let mut payload = BytesMut::new();
            vector.negotiated().encode(vector.order(), &mut payload);
            (Response::Ok(vector.id()), Some(payload.to_vec()))
        }
        "error" => {
            let code = ErrorCode(vector.error_code.unwrap());
            (Response::Error(vector.id(), code), None)
        }
        "goodbye" => {
            let accepted = vector.accepted.unwrap();
            (Response::Goodbye { accepted }, None)
        }
        _ => (Response::Processing(vector.id()), None),
    }
}

#[test]
fn every_message_decodes_and_canonical_ones_encode_to_the_same_bytes() {
    for vector in vectors(&["message"]) {
        let bytes = vector.bytes();
        let found = WholeMessage::find(&bytes, 0).unwrap();
        assert_eq!(found.encoded, 0..bytes.len(), "{}", vector.name);
        assert_eq!(found.payload(&bytes), vector.payload(), "{}", vector.name);
        if vector.canonical {
            let mut encoded = BytesMut::new();
            encode_message(&vector.payload(), &mut encoded);
            assert_eq!(encoded, bytes, "{}", vector.name);
            assert_eq!(encoded_len(vector.payload().len()), bytes.len());
        }
    }
}

#[test]
fn a_message_encoded_in_two_pieces_is_the_same_wherever_it_is_cut() {
    for vector in vectors(&["message"])
        .into_iter()
        .filter(|vector| vector.canonical)
    {
        let payload = vector.payload();
        for cut in cuts(payload.len()) {
            let (mut encoder, mut encoded) = (BlockEncoder::new(), BytesMut::new());
            encoder.push(&payload[..cut], &mut encoded);
            encoder.push(&payload[cut..], &mut encoded);
            encoder.finish(&mut encoded);
            assert_eq!(encoded, vector.bytes(), "{}, cut at {cut}", vector.name);
        }
    }
}

#[test]
fn a_message_that_is_cut_is_never_whole() {
    for vector in vectors(&["message"]) {
        let bytes = vector.bytes();
        for cut in cuts(bytes.len()) {
            assert_eq!(
                WholeMessage::find(&bytes[..cut], 0),
                None,
                "{}",
                vector.name
            );
        }
    }
}

#[test]
fn every_request_decodes_and_canonical_ones_encode_to_the_same_bytes() {
    for vector in vectors(&REQUESTS) {
        let (header, payload) = (request_header(&vector), request_payload(&vector));
        let (steps, decoder) = RequestDecoder::new(vector.order()).decode(&[&vector.bytes()]);
        assert_eq!(
            steps.first(),
            Some(&Step::Header(header)),
            "{}",
            vector.name
        );
        assert_eq!(steps.last(), Some(&Step::End), "{}", vector.name);
        let decoded = steps.iter().find_map(|step| match step {
            Step::Payload(payload) => Some(payload.clone()),
            _ => None,
        });
        assert_eq!(decoded.unwrap_or_default(), payload, "{}", vector.name);
        assert!(decoder.is_between_requests());
        let mut encoded = BytesMut::new();
        encode_request_header(header.code, header.id, vector.order(), &mut encoded);
        encode_message(&payload, &mut encoded);
        assert_eq!(encoded, vector.bytes(), "{}", vector.name);
    }
}

#[test]
fn every_response_decodes_and_encodes_to_the_same_bytes() {
    for vector in vectors(&RESPONSES) {
        let (response, payload) = response_and_payload(&vector);
        let (steps, decoder) = ResponseDecoder::new(vector.order()).decode(&[&vector.bytes()]);
        assert_eq!(
            steps.first(),
            Some(&Step::Header(response)),
            "{}",
            vector.name
        );
        assert!(decoder.is_between_responses());
        let mut encoded = BytesMut::new();
        response.encode(vector.order(), &mut encoded);
        if let Some(payload) = payload {
            encode_message(&payload, &mut encoded);
            assert_eq!(steps.last(), Some(&Step::End), "{}", vector.name);
        }
        assert_eq!(encoded, vector.bytes(), "{}", vector.name);
    }
}

#[test]
fn negotiation_bodies_decode_to_what_the_vectors_say() {
    for vector in vectors(&["negotiate", "negotiated"]) {
        let message = WholeMessage::find(&vector.bytes(), 5).unwrap();
        let payload = message.payload(&vector.bytes());
        if vector.kind == "negotiate" {
            let decoded = Negotiate::decode(&payload, vector.order()).unwrap();
            assert_eq!(Some(decoded.version), vector.version);
            assert_eq!(Some(decoded.features.bits()), vector.features);
        } else {
            let decoded = Negotiated::decode(&payload, vector.order());
            assert_eq!(decoded, Ok(vector.negotiated()));
        }
    }
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    for vector in vectors(&REQUESTS) {
        let decoder = RequestDecoder::new(vector.order());
        split_in_two_decodes_the_same(&decoder, &vector.bytes(), &vector.name);
    }
    for vector in vectors(&RESPONSES) {
        let decoder = ResponseDecoder::new(vector.order());
        split_in_two_decodes_the_same(&decoder, &vector.bytes(), &vector.name);
    }
}

#[test]
fn an_end_inside_a_request_names_its_offset_and_what_was_missing() {
    for vector in vectors(&REQUESTS) {
        let bytes = vector.bytes();
        for cut in cuts(bytes.len()) {
            let (steps, decoder) = RequestDecoder::new(vector.order()).decode(&[&bytes[..cut]]);
            let end = decoder.unexpected_end().unwrap();
            assert_eq!(end.offset, cut as u64, "{}", vector.name);
            let expected: &[&str] = match cut {
                1..=4 => &["task id"],
                5 => &["length byte"],
                _ => &["length byte", "block bytes"],
            };
            assert!(expected.contains(&end.missing), "{}: {end}", vector.name);
            assert!(!steps.contains(&Step::End), "{}", vector.name);
        }
    }
}

#[test]
fn a_cut_response_is_never_taken_for_a_whole_one() {
    for vector in vectors(&RESPONSES) {
        let bytes = vector.bytes();
        for cut in cuts(bytes.len()) {
            let (_, decoder) = ResponseDecoder::new(vector.order()).decode(&[&bytes[..cut]]);
            assert!(
                !decoder.is_between_responses(),
                "{}, cut at {cut}",
                vector.name
            );
            assert_eq!(decoder.offset(), cut as u64);
        }
    }
}

#[test]
fn an_unknown_response_code_is_named_with_its_offset() {
    let mut decoder = ResponseDecoder::new(ByteOrder::Big);
    let bytes = [3, 0, 0, 0, 1, 200];
    let mut at = 0;
    decoder.next(&bytes, &mut at).unwrap();
    let error = decoder.next(&bytes, &mut at).unwrap_err();
    assert_eq!((error.code, error.offset), (200, 5));
}
