//! Header maps: of the exchange, and of a callout's answer or of gRPC while the guest is told of it.

use abi::{GrpcEvent, Map, Refusal, Status};

use super::Guest;
use crate::memory::{self, Outcome, Pairs, refuse};
use crate::state::{State, Version};

/// A map by its number on the wire.
enum Which {
    Exchange(Map),
    AnswerHeaders,
    AnswerTrailers,
    GrpcMetadata,
    GrpcTrailers,
}

fn which(map: u32) -> Result<Which, Refusal> {
    Ok(match map {
        0 => Which::Exchange(Map::RequestHeaders),
        1 => Which::Exchange(Map::RequestTrailers),
        2 => Which::Exchange(Map::ResponseHeaders),
        3 => Which::Exchange(Map::ResponseTrailers),
        6 => Which::AnswerHeaders,
        7 => Which::AnswerTrailers,
        4 => Which::GrpcMetadata,
        5 => Which::GrpcTrailers,
        _ => return Err(Refusal::new(Status::BadArgument, format!("{map} is no header map (0 to 7)"))),
    })
}

fn writable(map: u32) -> Result<Map, Refusal> {
    match which(map)? {
        Which::Exchange(map) => Ok(map),
        _ => Err(Refusal::new(Status::BadArgument, "what a callout brought cannot be changed")),
    }
}

/// Gives each header of the answer to the callout that the guest is told of.
fn each_of_answer(state: &State, trailers: bool, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Refusal> {
    let Some(answer) = &state.answer else {
        let text = "there is a callout's answer only in proxy_on_http_call_response";
        return Err(Refusal::new(Status::BadArgument, text));
    };
    let Ok(answer) = answer else { return Ok(()) };
    if !trailers {
        each(b":status", answer.status.to_string().as_bytes());
    }
    let map = if trailers { &answer.trailers } else { &answer.headers };
    for (name, value) in map {
        each(name, value);
    }
    Ok(())
}

/// Gives each pair of what the guest is told of a gRPC stream.
fn each_of_grpc(state: &State, trailers: bool, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Refusal> {
    let map = match (&state.grpc, trailers) {
        (Some(GrpcEvent::Metadata(map)), false) | (Some(GrpcEvent::Trailers(map)), true) => map,
        _ => {
            let name = if trailers { "trailing" } else { "initial" };
            let text = format!("there is {name} metadata only in proxy_on_grpc_receive_{name}_metadata");
            return Err(Refusal::new(Status::BadArgument, text));
        }
    };
    map.iter().for_each(|(name, value)| each(name, value));
    Ok(())
}

fn each(state: &State, map: u32, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Refusal> {
    match which(map)? {
        Which::Exchange(map) => state.host().headers(map, each),
        Which::AnswerHeaders => each_of_answer(state, false, each),
        Which::AnswerTrailers => each_of_answer(state, true, each),
        Which::GrpcMetadata => each_of_grpc(state, false, each),
        Which::GrpcTrailers => each_of_grpc(state, true, each),
    }
}

/// Values of a header that comes more than once are joined by a comma, as Envoy does. A header
/// that is not there: empty in 0.1.0, NotFound since 0.2.
pub fn get(guest: &mut Guest<'_>, map: u32, at: u32, len: u32, at_out: u32, len_out: u32) -> Outcome {
    let mut value = std::mem::take(&mut guest.data_mut().scratch);
    value.clear();
    let outcome = get_into(guest, map, at, len, &mut value).and_then(|found| match found {
        false if guest.data().version != Version::V0_1_0 => refuse(Status::NotFound, "no such header"),
        _ => memory::give(guest, &value, at_out, len_out),
    });
    guest.data_mut().scratch = value;
    outcome
}

fn get_into(guest: &mut Guest<'_>, map: u32, at: u32, len: u32, value: &mut Vec<u8>) -> Outcome<bool> {
    let (data, state) = memory::view(guest)?;
    let name = memory::header_name(data, at, len)?;
    let mut found = false;
    let mut add = |one: &[u8]| {
        if found {
            value.push(b',');
        }
        found = true;
        value.extend_from_slice(one);
    };
    match which(map)? {
        Which::Exchange(map) => state.host().header(map, name, &mut add)?,
        _ => each(state, map, &mut |known, one| {
            if known.eq_ignore_ascii_case(name) {
                add(one);
            }
        })?,
    }
    Ok(found)
}

pub fn add(guest: &mut Guest<'_>, map: u32, at: u32, len: u32, value: u32, value_len: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let (name, value) = (memory::header_name(data, at, len)?, memory::value(data, value, value_len)?);
    Ok(state.host().add_header(writable(map)?, name, value)?)
}

pub fn replace(guest: &mut Guest<'_>, map: u32, at: u32, len: u32, value: u32, value_len: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let (name, value) = (memory::header_name(data, at, len)?, memory::value(data, value, value_len)?);
    Ok(state.host().set_header(writable(map)?, name, value)?)
}

pub fn remove(guest: &mut Guest<'_>, map: u32, at: u32, len: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    Ok(state.host().remove_header(writable(map)?, memory::header_name(data, at, len)?)?)
}

pub fn pairs(guest: &mut Guest<'_>, map: u32, at_out: u32, len_out: u32) -> Outcome {
    let mut pairs = Pairs::default();
    each(guest.data(), map, &mut |name, value| pairs.push(name, value))?;
    memory::give(guest, &pairs.encode(), at_out, len_out)
}

pub fn set_pairs(guest: &mut Guest<'_>, map: u32, at: u32, len: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let pairs = memory::decode_pairs(memory::bytes(data, at, len)?)?;
    Ok(state.host().set_headers(writable(map)?, &pairs)?)
}

/// Bytes of all names and values, as Envoy counts them.
pub fn size(guest: &mut Guest<'_>, map: u32, out: u32) -> Outcome {
    let mut size = 0;
    each(guest.data(), map, &mut |name, value| size += name.len() + value.len())?;
    memory::answer_u32(guest, out, size as u32)
}
