//! gRPC in `spec.yaml`: what a plugin calls, and what is answered. A message is bytes: a text as it is, or
//! `hex` digits, which `protoc --encode` gives by way of `xxd -p`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{Pairs, Text};
use super::route::Headers;
use super::spec::{Wanted, any_schema};
use super::value::{List, Value, Written, keys};
use crate::error::{Errors, Problem};
use crate::node::{Kind, Node};
use crate::spec::{GRPC_STATUSES, Message};

keys! {
    /// A gRPC call, or a stream, as it must be, and its answer.
    pub struct Grpc {
        /// The service, with its package.
        optional service: Text,
        /// The method.
        optional method: Text,
        /// Metadata; what is not named may be anything.
        optional metadata: Pairs<Wanted>,
        /// The message: a text, hex digits, or what a value may be elsewhere.
        optional message: MessageWanted,
        /// The messages of a stream.
        optional messages: List<MessageWanted>,
        /// What is answered, when all that is asked has come: OK and an empty message if not given.
        optional answer: GrpcAnswer,
    }
}

keys! {
    /// What a gRPC server answers.
    pub struct GrpcAnswer {
        /// Metadata before the messages.
        optional metadata: Headers,
        /// The message: a text, or hex digits. Empty if not given, none with a status that is not OK.
        optional message: Bytes,
        /// The messages of a stream.
        list messages: Bytes,
        /// Metadata after the messages.
        optional trailers: Headers,
        /// The status, by its name or its number.
        default status: GrpcStatus = 0u32,
        /// What is said of the status.
        optional text: Text,
    }
}

keys! {
    /// Bytes that are no text.
    pub struct HexFacts {
        /// Two digits a byte; spaces between bytes are passed over.
        required hex: Hex,
    }
}

/// A message as it must be.
#[derive(Clone, Debug)]
pub struct MessageWanted(pub Message);

/// A message.
#[derive(Clone, Debug)]
pub struct Bytes(pub Vec<u8>);

/// Two digits a byte.
#[derive(Clone, Debug)]
pub struct Hex(pub Vec<u8>);

/// By its number.
#[derive(Clone, Debug)]
pub struct GrpcStatus(pub u32);

fn is_hex(node: &Node) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.iter().any(|entry| entry.key == "hex"))
}

fn bytes_of(node: &Node, errors: &mut Errors) -> Option<Vec<u8>> {
    HexFacts::read(node, errors)?.hex.map(|hex| hex.value.0)
}

impl Value for MessageWanted {
    fn read(node: &Node, errors: &mut Errors) -> Option<MessageWanted> {
        if is_hex(node) {
            return bytes_of(node, errors).map(|bytes| MessageWanted(Message::Bytes(bytes)));
        }
        Wanted::read(node, errors).map(|wanted| MessageWanted(Message::Text(wanted.0)))
    }
}

impl Value for Bytes {
    fn read(node: &Node, errors: &mut Errors) -> Option<Bytes> {
        if let Kind::Map(_) = node.kind {
            return bytes_of(node, errors).map(Bytes);
        }
        Text::read(node, errors).map(|text| Bytes(text.0.into_bytes()))
    }
}

impl Value for Hex {
    fn read(node: &Node, errors: &mut Errors) -> Option<Hex> {
        // Digits alone are a number to YAML, and one of them at the front may be lost in it.
        let Kind::Text(text) = &node.kind else {
            let problem = Problem::found(format!("found {}", node.describe()));
            errors.add(&node.place, problem.allowed("allowed: a text of hex digits, in quotes"));
            return None;
        };
        let digits: Option<Vec<_>> = text.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16)).collect();
        match digits.filter(|digits| digits.len() % 2 == 0) {
            Some(digits) => Some(Hex(digits.chunks(2).map(|two| (two[0] * 16 + two[1]) as u8).collect())),
            None => {
                let problem = Problem::found(format!("found {text:?}"));
                errors.add(&node.place, problem.allowed("allowed: hex digits, two a byte"));
                None
            }
        }
    }
}

impl Value for GrpcStatus {
    fn read(node: &Node, errors: &mut Errors) -> Option<GrpcStatus> {
        let word = match &node.kind {
            Kind::Int(number) if (0..GRPC_STATUSES.len() as i64).contains(&i64::try_from(*number).unwrap_or(-1)) => {
                return Some(GrpcStatus(*number as u32));
            }
            Kind::Text(word) => word.as_str(),
            _ => "",
        };
        if let Some(number) = GRPC_STATUSES.iter().position(|status| *status == word) {
            return Some(GrpcStatus(number as u32));
        }
        let found = format!("found {}", node.describe());
        errors.add(&node.place, Problem::none_of(found, "statuses are 0 to 16, or", word, GRPC_STATUSES));
        None
    }
}

impl From<u32> for GrpcStatus {
    fn from(number: u32) -> GrpcStatus {
        GrpcStatus(number)
    }
}

impl Written for GrpcStatus {
    fn written(&self) -> serde_json::Value {
        self.0.into()
    }
}

any_schema! { MessageWanted Bytes Hex GrpcStatus }
