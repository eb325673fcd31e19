//! Puts a deadline into bulk operations: a module is rewritten before it is compiled.
//!
//! `memory.fill` or `memory.copy` over a whole memory is one call into the engine's library, which nothing
//! ends for up to 30 ms. So each becomes a call of a function that is added at the module's end: it does a
//! short one whole, and one that is out of bounds too (it traps as ever, with nothing written), and a long
//! one in pieces, in a loop that looks at the epoch. `memory.init` from a segment longer than a piece as
//! well (a module of 64 MiB may have one of 60), and the same of tables: to copy all of 100,000 elements may
//! take 2 ms. `table.grow` stays: a table is that long once. Operations of a constant short length stay as
//! they are, which is most of what compilers write, and what the engine has faster code for.
//!
//! The call is written over the operation, byte for byte (numbers of LEB128 may be padded): functions keep
//! their indices, names, and offsets, and so what DWARF says of them stays true. What lies before them grows by
//! a few bytes, which [`Rewritten::shift`] takes back, so that a trace has the offsets of the file that its
//! author has; the added function is left out of it. One case cannot keep them: a call of a function past
//! 16,383 is a byte longer than `memory.fill`. Such a module loses its debug sections and its traces
//! their offsets, and nothing else.
//!
//! Who changes what is made here counts [`VERSION`] up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use wasm_encoder::Encode;
use wasmparser::{
    BinaryReaderError, DataKind, ElementItems, ElementKind, FunctionBody, Operator, Parser, Payload, ValType,
};

mod operation;
#[cfg(test)]
mod tests;

use operation::{Operation, Segments};

/// Part of the name of compiled code that is kept.
pub const VERSION: u8 = 1;
const CALL: u8 = 0x10;
const NOP: u8 = 0x01;

type Outcome<T> = Result<T, BinaryReaderError>;

/// What was done to a module, for its traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The first function that was added: all from it on are ours.
    pub added: u32,
    /// How far functions have moved in the file; `None` if not all by as much.
    pub shift: Option<u32>,
}

impl Rewritten {
    pub const NOT: Rewritten = Rewritten { added: u32::MAX, shift: Some(0) };
    pub const LEN: usize = 8;

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let shift = self.shift.unwrap_or(u32::MAX);
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.added.to_le_bytes());
        bytes[4..].copy_from_slice(&shift.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Rewritten {
        let [added, shift] =
            [0, 4].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        Rewritten { added, shift: (shift != u32::MAX).then_some(shift) }
    }
}

/// Where a body has an operation, in the file.
struct Place {
    operation: Operation,
    at: Range<usize>,
}

/// What the rewriting needs to know of a module.
#[derive(Default)]
struct Found<'a> {
    /// Number and contents, with the bytes before them that say so.
    sections: Vec<Section>,
    /// Those of three operands and no result are remembered by them.
    types: u32,
    fitting: Vec<([ValType; 3], u32)>,
    imported: u32,
    bodies: Vec<FunctionBody<'a>>,
    segments: Segments,
}

struct Section {
    id: u8,
    /// With its number and size.
    whole: Range<usize>,
    contents: Range<usize>,
    /// Worth keeping if functions do not stay where they were.
    kept: bool,
}

/// `bytes`, which is a valid module, with its long operations replaced, and what that did to it.
pub fn rewrite(bytes: &[u8]) -> Outcome<(Cow<'_, [u8]>, Rewritten)> {
    let found = read(bytes)?;
    let mut places = Vec::new();
    for body in &found.bodies {
        places.push(operations(body, &found.segments)?);
    }
    let mut functions: BTreeMap<Operation, u32> = places.iter().flatten().map(|place| (place.operation, 0)).collect();
    if functions.is_empty() {
        return Ok((Cow::Borrowed(bytes), Rewritten::NOT));
    }
    let added = found.imported + found.bodies.len() as u32;
    for (index, number) in functions.values_mut().zip(added..) {
        *index = number;
    }
    let (new_types, types) = types(&found, &functions);
    let (code, moved) = code(bytes, &found, &places, &functions)?;
    let mut out = bytes[..8].to_vec();
    let mut shift = None;
    for section in &found.sections {
        let contents = &bytes[section.contents.clone()];
        match section.id {
            TYPE if !new_types.is_empty() => section.put(&mut out, &longer(contents, &new_types)?),
            FUNCTION => section.put(&mut out, &longer(contents, &types)?),
            CODE => {
                section.put(&mut out, &code);
                // Counted from its end: the number of functions may have become longer too.
                let (old, new) = (first(contents)?, first(&code)?);
                let (old, new) = (section.contents.start + old, out.len() - code.len() + new);
                // No number is written in fewer bytes than it was, so nothing moves back.
                shift = new.checked_sub(old).filter(|_| !moved).map(|shift| shift as u32);
            }
            _ if moved && !section.kept => {}
            _ => out.extend_from_slice(&bytes[section.whole.clone()]),
        }
    }
    Ok((Cow::Owned(out), Rewritten { added, shift }))
}

const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const CODE: u8 = 10;

fn read(bytes: &[u8]) -> Outcome<Found<'_>> {
    let mut found = Found::default();
    let mut end = 8;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Some((id, contents)) = payload.as_section() {
            let kept = !matches!(&payload, Payload::CustomSection(custom) if custom.name() != "name");
            found.sections.push(Section { id, whole: end..contents.end, contents: contents.clone(), kept });
            end = contents.end;
        }
        match payload {
            Payload::TypeSection(types) => {
                for function in types.into_iter_err_on_gc_types() {
                    let function = function?;
                    if let (&[a, b, n], []) = (function.params(), function.results()) {
                        found.fitting.push(([a, b, n], found.types));
                    }
                    found.types += 1;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    found.imported += u32::from(matches!(import?.ty, wasmparser::TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => found.bodies.push(body),
            Payload::DataSection(segments) => {
                for (index, segment) in (0..).zip(segments) {
                    let segment = segment?;
                    if matches!(segment.kind, DataKind::Passive) {
                        found.segments.bytes.insert(index, segment.data.len() as u32);
                    }
                }
            }
            Payload::ElementSection(segments) => {
                for (index, segment) in (0..).zip(segments) {
                    let segment = segment?;
                    if matches!(segment.kind, ElementKind::Passive) {
                        let length = match segment.items {
                            ElementItems::Functions(items) => items.count(),
                            ElementItems::Expressions(_, items) => items.count(),
                        };
                        found.segments.elements.insert(index, length);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The operations of a body that may be long.
fn operations(body: &FunctionBody<'_>, segments: &Segments) -> Outcome<Vec<Place>> {
    let mut places = Vec::new();
    let mut reader = body.get_operators_reader()?;
    // The length, if it is the constant right before: nothing else can lead to the operation, since a branch
    // only leads to where a block begins or ends, which are instructions too.
    let mut length = None;
    while !reader.eof() {
        let at = reader.original_position();
        let operator = reader.read()?;
        if let Some(operation) = Operation::of(&operator, segments)
            && length.is_none_or(|length| length > operation.piece())
        {
            places.push(Place { operation, at: at..reader.original_position() });
        }
        length = match operator {
            Operator::I32Const { value } => Some(value as u32),
            _ => None,
        };
    }
    Ok(places)
}

/// Types that the module lacks for `functions`, and the number of the type of each.
fn types(found: &Found<'_>, functions: &BTreeMap<Operation, u32>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    const FUNCTION_TYPE: u8 = 0x60;
    let mut fitting = found.fitting.clone();
    let (mut new, mut of) = (Vec::new(), Vec::new());
    for operation in functions.keys() {
        let operands = operation.operands();
        let known = fitting.iter().find(|(others, _)| *others == operands).map(|(_, number)| *number);
        let number = known.unwrap_or_else(|| {
            let number = found.types + new.len() as u32;
            fitting.push((operands, number));
            let code = |operand| if operand == ValType::FUNCREF { 0x70 } else { 0x7f };
            new.push([&[FUNCTION_TYPE, 3][..], &operands.map(code), &[0]].concat());
            number
        });
        let mut bytes = Vec::new();
        number.encode(&mut bytes);
        of.push(bytes);
    }
    (new, of)
}

/// The new contents of the code section, and whether a body has another length than before.
fn code(
    bytes: &[u8],
    found: &Found<'_>,
    places: &[Vec<Place>],
    functions: &BTreeMap<Operation, u32>,
) -> Outcome<(Vec<u8>, bool)> {
    let mut moved = false;
    let start = found.sections.iter().find(|section| section.id == CODE).map_or(0, |code| code.contents.start);
    // Where the body before ended: what comes between is the size of the next.
    let mut end = start + first(&bytes[start..])?;
    let mut code = padded((found.bodies.len() + functions.len()) as u32, end - start);
    for (body, places) in found.bodies.iter().zip(places) {
        let range = body.range();
        let mut new = Vec::with_capacity(range.len());
        let mut copied = range.start;
        for place in places {
            new.extend_from_slice(&bytes[copied..place.at.start]);
            new.extend_from_slice(&call(functions[&place.operation], place.at.len()));
            copied = place.at.end;
        }
        new.extend_from_slice(&bytes[copied..range.end]);
        if new.len() == range.len() {
            code.extend_from_slice(&bytes[end..range.start]);
        } else {
            moved = true;
            (new.len() as u32).encode(&mut code);
        }
        code.extend_from_slice(&new);
        end = range.end;
    }
    for operation in functions.keys() {
        operation.function().encode(&mut code);
    }
    Ok((code, moved))
}

/// A call in `room` bytes, or in as few more as it takes.
fn call(function: u32, room: usize) -> Vec<u8> {
    let mut call = vec![CALL];
    call.extend(padded(function, room - 1));
    call.resize(call.len().max(room), NOP);
    call
}

impl Section {
    /// With other contents; its length takes no fewer bytes than it did.
    fn put(&self, out: &mut Vec<u8>, contents: &[u8]) {
        out.push(self.id);
        out.extend(padded(contents.len() as u32, self.contents.start - self.whole.start - 1));
        out.extend_from_slice(contents);
    }
}

/// A number in so many bytes, if it fits and so many may be: linkers write some in five that need one.
fn padded(number: u32, room: usize) -> Vec<u8> {
    const MOST: usize = 5;
    let mut bytes = Vec::new();
    number.encode(&mut bytes);
    while bytes.len() < room.min(MOST) {
        *bytes.last_mut().expect("a number has a byte") |= 0x80;
        bytes.push(0);
    }
    bytes
}

/// A vector of a section with more items.
fn longer(contents: &[u8], items: &[Vec<u8>]) -> Outcome<Vec<u8>> {
    let count = wasmparser::BinaryReader::new(contents, 0).read_var_u32()?;
    let begin = first(contents)?;
    let mut longer = padded(count + items.len() as u32, begin);
    longer.extend_from_slice(&contents[begin..]);
    longer.extend(items.concat());
    Ok(longer)
}

/// Where the first item of a vector begins.
fn first(contents: &[u8]) -> Outcome<usize> {
    let mut reader = wasmparser::BinaryReader::new(contents, 0);
    reader.read_var_u32()?;
    Ok(reader.original_position())
}
