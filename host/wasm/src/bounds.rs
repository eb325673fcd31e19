//! What a module may ask of the compiler, looked at before it is compiled.
//!
//! Compiling takes memory for each instruction, and far more where values meet or are kept: 100 KB of code with
//! 8,000 locals and as many loops took 1.7 GB, and ten times that some 18 GB. So what each function would take is
//! estimated from what it has ([`Asked`]), and what is past a bound is refused, by the function's name and with what
//! was found. The weights are what was measured of functions that have one thing in plenty, on the high side;
//! `README.md` has what the worst that passes takes.
//!
//! One module is compiled at a time in a process ([`turn`]), and its functions one after another where those that
//! would be compiled at once are large ([`Way`]): their memory does not add up.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TypeRef,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

const MIB: u64 = 1 << 20;
/// Memory while one function is compiled, and functions that are compiled at once.
const WHILE: u64 = 500 * MIB;
/// Memory that is left of all functions, until the module is whole.
const KEPT_OF_ALL: u64 = 700 * MIB;
/// Locals of one function, parameters among them.
const LOCALS: u64 = 20_000;

/// What the compiler is asked for by one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Bytes of code.
    code: u64,
    locals: u64,
    calls: u64,
    loops: u64,
    /// Branches, and where blocks begin.
    branches: u64,
    /// Locals, each counted by how many branches there are up to its last use, and what is on the stack at each.
    kept: u64,
    /// Locals that are set in a block, for each block: they meet at its end or beginning.
    joined: u64,
    /// Parameters and results of calls and blocks that have many.
    passed: u64,
}

/// A module is valid and not compiled.
#[derive(Debug)]
pub struct TooMuch(String);

impl std::error::Error for TooMuch {}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the module is too much to compile: {}", self.0)
    }
}

/// How the functions of a module are to be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    AtOnce,
    OneByOne,
}

impl Asked {
    /// Bytes of memory while it is compiled.
    fn memory(&self) -> u64 {
        160 * self.code
            + 2_500 * self.calls
            + 8_000 * self.loops
            + 1_400 * self.branches
            + 65 * self.kept
            + 3_000 * self.joined
            + 650 * self.passed
    }

    /// Bytes that are left of it.
    fn left(&self) -> u64 {
        7_000 + 20 * self.code + 50 * self.locals
    }
}

/// Held by who compiles.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // It guards nothing that could be half done.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How `bytes`, a valid module, is to be compiled, or why it is not. Everything in it is looked at once.
pub fn check(bytes: &[u8]) -> wasmtime::Result<Way> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut allocations = FuncValidatorAllocations::default();
    let mut index = 0u32;
    let mut left = 0u64;
    let mut memory = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::ImportSection(imports) = &payload {
            for import in imports.clone().into_imports() {
                index += u32::from(matches!(import?.ty, TypeRef::Func(_)));
            }
        }
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            let (asked, back) = ask(function, &body, allocations)?;
            allocations = back;
            if asked.locals > LOCALS {
                let Asked { locals, .. } = asked;
                return refuse(format!("{} has {locals} locals (allowed: at most {LOCALS})", name(bytes, index)));
            }
            if asked.memory() > WHILE {
                return refuse(too_large(&name(bytes, index), &asked));
            }
            memory.push(asked.memory());
            left += asked.left();
            if left > KEPT_OF_ALL {
                let functions = memory.len();
                return refuse(format!(
                    "the first {functions} functions would leave some {} MiB of memory (allowed: at most {} MiB; \
                     for each 7 KB, with 20 bytes for each of code and 50 for each local)",
                    left / MIB,
                    KEPT_OF_ALL / MIB
                ));
            }
            index += 1;
        }
    }
    memory.sort_unstable_by(|one, other| other.cmp(one));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let at_once: u64 = memory.iter().take(threads).sum();
    Ok(if at_once > WHILE { Way::OneByOne } else { Way::AtOnce })
}

fn too_large(name: &str, asked: &Asked) -> String {
    let Asked { code, locals, calls, loops, branches, kept, joined, passed } = asked;
    format!(
        "{name} would take some {} MiB of memory (allowed: at most {} MiB), for its {code} bytes of code, {calls} calls, \
         {loops} loops, {branches} branches and blocks, {kept} times that a value is kept past one of those, {joined} that \
         one of its {locals} locals is set in a block, {passed} values passed in large numbers",
        asked.memory() / MIB,
        WHILE / MIB
    )
}

fn refuse(text: String) -> wasmtime::Result<Way> {
    Err(wasmtime::Error::new(TooMuch(text)))
}

/// What one function asks for.
fn ask(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    allocations: FuncValidatorAllocations,
) -> wasmtime::Result<(Asked, FuncValidatorAllocations)> {
    let mut validator = function.into_validator(allocations);
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    let locals = u64::from(validator.len_locals());
    let mut asked = Asked { code: body.range().len() as u64, locals, ..Asked::default() };
    if locals > LOCALS {
        return Ok((asked, validator.into_allocations()));
    }
    let mut last = HashMap::new();
    let mut frames = Frames::default();
    let mut operators = wasmparser::OperatorsReader::new(reader);
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        let passed =
            operator.operator_arity(&validator).map_or(0, |(takes, gives)| u64::from(takes) + u64::from(gives));
        validator.op(at, &operator)?;
        let height = u64::from(validator.operand_stack_height());
        // Where blocks begin or control parts; a loop begins with one for itself and one for its deadline.
        let branches = match &operator {
            Operator::LocalGet { local_index } => {
                last.insert(*local_index, asked.branches);
                frames.uses(*local_index);
                0
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                last.insert(*local_index, asked.branches);
                frames.uses(*local_index);
                frames.sets(*local_index);
                0
            }
            Operator::Loop { .. } => {
                frames.open(true);
                asked.loops += 1;
                2
            }
            Operator::If { .. } => {
                frames.open(false);
                2
            }
            Operator::Block { .. } | Operator::TryTable { .. } => {
                frames.open(false);
                1
            }
            Operator::End => {
                let (joined, kept) = frames.close();
                asked.joined += joined;
                kept.into_iter().for_each(|local| _ = last.insert(local, asked.branches));
                0
            }
            Operator::Else | Operator::BrIf { .. } => 1,
            Operator::BrTable { targets } => 1 + u64::from(targets.len()),
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                asked.calls += 1;
                0
            }
            _ => 0,
        };
        asked.branches += branches;
        asked.kept += branches * height;
        // Of most instructions that is a few; of a call or a block it may be a thousand, in three bytes.
        asked.passed += passed.saturating_sub(8) * branches.max(1);
    }
    asked.kept += last.values().sum::<u64>();
    Ok((asked, validator.into_allocations()))
}

/// The blocks that are open at a place.
#[derive(Default)]
struct Frames {
    /// Whether each is a loop, and the locals that are set in it.
    open: Vec<(bool, HashSet<u32>)>,
    loops: u32,
    /// Used in the outermost loop, and so kept to its end.
    looped: HashSet<u32>,
}

impl Frames {
    fn open(&mut self, is_loop: bool) {
        self.loops += u32::from(is_loop);
        self.open.push((is_loop, HashSet::new()));
    }

    fn uses(&mut self, local: u32) {
        if self.loops > 0 {
            self.looped.insert(local);
        }
    }

    fn sets(&mut self, local: u32) {
        if let Some((_, set)) = self.open.last_mut() {
            set.insert(local);
        }
    }

    /// How many locals were set in the innermost, and those that were kept to its end.
    fn close(&mut self) -> (u64, HashSet<u32>) {
        // The last end is the function's.
        let Some((is_loop, mut set)) = self.open.pop() else { return Default::default() };
        let joined = set.len() as u64;
        if let Some((_, outer)) = self.open.last_mut() {
            // The smaller goes into the larger, so that deep ones cost no more.
            if outer.len() < set.len() {
                std::mem::swap(outer, &mut set);
            }
            outer.extend(set);
        }
        self.loops -= u32::from(is_loop);
        let kept = if is_loop && self.loops == 0 { std::mem::take(&mut self.looped) } else { HashSet::new() };
        (joined, kept)
    }
}

/// A function as its author knows it.
fn name(bytes: &[u8], index: u32) -> String {
    let named = Parser::new(0).parse_all(bytes).find_map(|payload| {
        let Ok(Payload::CustomSection(section)) = payload else { return None };
        let KnownCustom::Name(names) = section.as_known() else { return None };
        names.into_iter().flatten().find_map(|names| {
            let Name::Function(functions) = names else { return None };
            functions.into_iter().flatten().find(|naming| naming.index == index).map(|naming| naming.name.to_owned())
        })
    });
    named.map_or_else(|| format!("function {index}"), |name| format!("function {index} ({name:?})"))
}

#[cfg(test)]
mod tests;
