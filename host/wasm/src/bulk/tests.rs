//! Held against the engine: what a rewritten module does is what it did before.

use wasmtime::{Instance, Memory, Module, Store};

use super::*;
use crate::engine::engine;
use crate::state::State;

const PIECE: u32 = Operation::Fill.piece();

/// Each operation with its operands from outside; a segment longer than a piece.
const OPERATIONS: &str = r#"(module
    (import "env" "nothing" (func $nothing))
    (memory (export "memory") 16 32)
    (data $long "LONG")
    (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i32 i32 i32) (memory.init $long (local.get 0) (local.get 1) (local.get 2)))
    (func (export "drop") (param i32 i32 i32) (data.drop $long)))"#;
const LONG: usize = 700_000;

fn operations() -> Vec<u8> {
    let long: String = (0..LONG).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    wat::parse_str(OPERATIONS.replace("LONG", &long)).unwrap()
}

struct Run {
    store: Store<State>,
    instance: Instance,
    memory: Memory,
}

impl Run {
    fn of(bytes: &[u8]) -> Run {
        let mut store = Store::new(engine(), State::unhosted());
        store.set_epoch_deadline(u64::MAX / 2);
        let module = Module::new(engine(), bytes).unwrap();
        let nothing = wasmtime::Func::wrap(&mut store, || {});
        let imports: Vec<_> = module.imports().map(|_| nothing.into()).collect();
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        Run { store, instance, memory }
    }

    /// What it traps with.
    fn call(&mut self, name: &str, operands: (u32, u32, u32)) -> Option<String> {
        let function = self.instance.get_typed_func::<(u32, u32, u32), ()>(&mut self.store, name).unwrap();
        function.call(&mut self.store, operands).err().map(|error| error.root_cause().to_string())
    }
}

#[test]
fn long_operations_do_what_they_did_before() {
    let bytes = operations();
    let (rewritten, what) = rewrite(&bytes).unwrap();
    assert_eq!(what.added, 5);
    let (mut before, mut after) = (Run::of(&bytes), Run::of(&rewritten));
    let size = 16 << 16;
    for run in [&mut before, &mut after] {
        for (at, byte) in run.memory.data_mut(&mut run.store).iter_mut().enumerate() {
            *byte = (at * 31 % 251) as u8;
        }
    }
    let mut random = fastrand::Rng::with_seed(7);
    let near = |random: &mut fastrand::Rng, around: u32| around.wrapping_add(random.u32(0..5)).wrapping_sub(2);
    let edges = [0, PIECE, 2 * PIECE, 3 * PIECE, size / 2, size, LONG as u32, u32::MAX - PIECE, u32::MAX];
    let (mut trapped, mut long) = (0, 0);
    for turn in 0..3000 {
        let name = *random.choice(&["fill", "copy", "copy", "init"]).unwrap();
        let mut operand = || match random.u32(0..4) {
            0 => {
                let edge = *random.choice(&edges).unwrap();
                near(&mut random, edge)
            }
            _ => random.u32(0..size),
        };
        let mut operands = (operand(), operand(), operand());
        // Mostly what overlaps, and what fits.
        match random.u32(0..4) {
            0 => operands.1 = near(&mut random, operands.0),
            1 => operands.1 = operands.0.wrapping_add(random.u32(0..2 * PIECE)).wrapping_sub(PIECE),
            _ => {}
        }
        if random.u32(0..4) > 0 {
            operands.2 = operands.2.min(size.saturating_sub(operands.0.max(operands.1)));
        }
        let (was, is) = (before.call(name, operands), after.call(name, operands));
        assert_eq!(is, was, "turn {turn}: {name} {operands:?}");
        trapped += u32::from(was.is_some());
        long += u32::from(was.is_none() && operands.2 > PIECE);
        let (was, is) = (before.memory.data(&before.store), after.memory.data(&after.store));
        assert!(was == is, "turn {turn}: {name} {operands:?} left another memory");
    }
    assert!(trapped > 300 && long > 300, "{trapped} trapped, {long} were long");
}

#[test]
fn what_is_out_of_bounds_traps_with_nothing_written() {
    let bytes = operations();
    let mut run = Run::of(&rewrite(&bytes).unwrap().0);
    let size = 16 << 16;
    for (name, operands) in [
        ("fill", (1, 7, size)),
        ("fill", (size - PIECE, 7, PIECE + 1)),
        ("fill", (u32::MAX, 7, u32::MAX)),
        ("copy", (0, 1, size)),
        ("copy", (1, 0, size)),
        ("copy", (u32::MAX, 0, 2 * PIECE)),
        ("copy", (0, u32::MAX, 2 * PIECE)),
        ("init", (0, 1, LONG as u32)),
        ("init", (size - LONG as u32 + 1, 0, LONG as u32)),
        ("init", (0, u32::MAX, u32::MAX)),
    ] {
        let trap = run.call(name, operands);
        assert_eq!(trap.as_deref(), Some("wasm trap: out of bounds memory access"), "{name} {operands:?}");
        assert!(run.memory.data(&run.store).iter().all(|byte| *byte == 0), "{name} {operands:?} wrote");
    }
    assert_eq!(run.call("init", (0, 0, LONG as u32)), None);
    run.memory.data_mut(&mut run.store).fill(0);
    assert_eq!(run.call("drop", (0, 0, 0)), None);
    assert!(run.call("init", (0, 0, LONG as u32)).is_some());
    assert!(run.memory.data(&run.store).iter().all(|byte| *byte == 0));
}

/// The same for tables; `sum` tells one content from another.
const TABLES: &str = r#"(module
    (memory (export "memory") 1)
    (table $t 30000 funcref) (table $u 30000 funcref)
    (func $a (result i32) (i32.const 3)) (func $b (result i32) (i32.const 5)) (func $c (result i32) (i32.const 7))
    (table $fills 4 funcref) (elem (table $fills) (i32.const 1) func $a $b $c)
    (elem $long func LONG)
    (func (export "fill") (param i32 i32 i32)
        (table.fill $t (local.get 0) (table.get $fills (i32.and (local.get 1) (i32.const 3))) (local.get 2)))
    (func (export "copy") (param i32 i32 i32) (table.copy $t $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "over") (param i32 i32 i32) (table.copy $u $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "back") (param i32 i32 i32) (table.copy $t $u (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i32 i32 i32) (table.init $t $long (local.get 0) (local.get 1) (local.get 2)))
    (func (export "sum") (param $at i32) (param i32 i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.mul (i32.const 31) (i32.add (local.get $sum)
                (if (result i32) (ref.is_null (table.get $t (local.get $at))) (then (i32.const 1))
                    (else (call_indirect $t (result i32) (local.get $at)))))))
            (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 30000))))
        (i32.store (i32.const 0) (local.get $sum))))"#;

#[test]
fn long_operations_on_tables_do_what_they_did_before() {
    let long: Vec<_> = (0..25_000).map(|at| ["$a", "$b", "$c", "$b"][at % 7 % 4]).collect();
    let bytes = wat::parse_str(TABLES.replace("LONG", &long.join(" "))).unwrap();
    let (rewritten, what) = rewrite(&bytes).unwrap();
    assert_eq!(bodies(&rewritten).len() - what.added as usize, 5);
    let (mut before, mut after) = (Run::of(&bytes), Run::of(&rewritten));
    let mut random = fastrand::Rng::with_seed(11);
    let (mut trapped, mut sums) = (0, std::collections::BTreeSet::new());
    for turn in 0..600 {
        let name = *random.choice(&["fill", "copy", "copy", "over", "back", "init"]).unwrap();
        let mut operands = (random.u32(0..30_000), random.u32(0..30_000), random.u32(0..30_000));
        match random.u32(0..8) {
            0 => {}
            1 => operands.0 = u32::MAX - random.u32(0..30_000),
            _ => {
                operands.0 /= 8;
                operands.1 /= 8;
                operands.2 = operands.2.min(25_000 - operands.1);
            }
        }
        let (was, is) = (before.call(name, operands), after.call(name, operands));
        assert_eq!(is, was, "turn {turn}: {name} {operands:?}");
        trapped += u32::from(was.is_some());
        let sum = [&mut before, &mut after].map(|run| {
            assert_eq!(run.call("sum", (0, 0, 0)), None);
            run.memory.data(&run.store)[..4].to_vec()
        });
        assert_eq!(sum[1], sum[0], "turn {turn}: {name} {operands:?} left another table");
        sums.insert(sum[0].clone());
    }
    assert!(trapped > 50 && sums.len() > 100, "{trapped} trapped, {} contents", sums.len());
}

/// Where each of `module`'s bodies begins, and its bytes.
fn bodies(module: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let body = |body: &FunctionBody<'_>| (body.range().start, body.as_bytes().to_vec());
    read(module).unwrap().bodies.iter().map(body).collect()
}

#[test]
fn functions_keep_their_indices_and_lengths_and_move_as_far_as_is_said() {
    for (text, added) in [
        // A type that fits is taken; one is added where there is none.
        ("(func (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))", 1),
        ("(func (param i32) (memory.copy (local.get 0) (local.get 0) (local.get 0)) (drop (i32.const 1)))", 1),
        ("(func (param i32) (memory.copy (local.get 0) (local.get 0) (i32.const 300000)))", 1),
        // With 127 functions before, the number of functions takes a byte more.
        (
            concat!(
                "(func (param i32) (memory.copy (local.get 0) (local.get 0) (local.get 0)) ",
                "(memory.fill (local.get 0) (local.get 0) (local.get 0)))"
            ),
            2,
        ),
    ] {
        for others in [0, 126, 500] {
            let text = format!("(module (memory 1) {text} {})", "(func $f (nop))".replace("$f", "").repeat(others));
            let module = wat::parse_str(&text).unwrap();
            // As Go's linker has it, with each number in five bytes.
            for module in [with_long_numbers(&module), module] {
                let (new, what) = rewrite(&module).unwrap();
                Module::validate(engine(), &new).unwrap();
                let (old, new) = (bodies(&module), bodies(&new));
                assert_eq!((new.len(), what.added as usize), (old.len() + added, old.len()), "{text}");
                let shift = what.shift.unwrap() as usize;
                assert!(shift > 0);
                for ((old_at, old), (new_at, new)) in old.iter().zip(&new) {
                    assert_eq!((*new_at, new.len()), (old_at + shift, old.len()), "{text}");
                }
                let others = new[1..old.len()].iter().zip(&old[1..]);
                assert!(new[0].1 != old[0].1 && others.clone().all(|(new, old)| new.1 == old.1));
            }
        }
    }
}

/// The module with the lengths of its sections, and how many items they have, in five bytes each.
fn with_long_numbers(module: &[u8]) -> Vec<u8> {
    let mut out = module[..8].to_vec();
    for section in read(module).unwrap().sections {
        let contents = &module[section.contents];
        let (count, items) = contents.split_at(first(contents).unwrap());
        let count = wasmparser::BinaryReader::new(count, 0).read_var_u32().unwrap();
        let contents = [&padded(count, 5), items].concat();
        out.push(section.id);
        out.extend(padded(contents.len() as u32, 5));
        out.extend(contents);
    }
    out
}

#[test]
fn what_cannot_take_long_stays_as_it_is() {
    for text in [
        "",
        "(func (memory.fill (i32.const 0) (i32.const 0) (i32.const 262144)))",
        "(func (param i32) (memory.copy (local.get 0) (local.get 0) (i32.const 0)))",
        r#"(data $d "some") (func (param i32) (memory.init $d (local.get 0) (local.get 0) (local.get 0)))"#,
    ] {
        let module = wat::parse_str(format!("(module (memory 1) {text})")).unwrap();
        let (new, what) = rewrite(&module).unwrap();
        assert!(matches!(new, Cow::Borrowed(_)), "{text}");
        assert_eq!(what, Rewritten::NOT);
    }
}

#[test]
fn a_constant_in_another_block_is_no_length() {
    let text = r#"(module (memory 16) (func (export "f") (param i32)
        (i32.const 0) (i32.const 7)
        (block (param) (result i32) (br_if 0 (local.get 0) (local.get 0)) (drop) (i32.const 1))
        (memory.fill)))"#;
    let (_, what) = rewrite(&wat::parse_str(text).unwrap()).unwrap();
    assert_eq!(what.added, 1);
}

#[test]
fn a_module_of_very_many_functions_is_rewritten_too() {
    // One call past what two bytes hold; its debug sections would lie.
    for (functions, moved) in [(16_383, false), (16_384, true)] {
        let text = format!(
            r#"(module (memory (export "memory") 16) (func $f (export "fill") (param i32 i32 i32)
            (memory.fill (local.get 0) (local.get 1) (local.get 2))) {}
            (@custom ".debug_line" "lines") (@custom "other" "kept"))"#,
            "(func)".repeat(functions - 1)
        );
        let module = wat::parse_str(text).unwrap();
        let (new, what) = rewrite(&module).unwrap();
        assert_eq!((what.added as usize, what.shift.is_none()), (functions, moved));
        let custom = |bytes: &[u8]| {
            let names = Parser::new(0).parse_all(bytes).filter_map(|payload| match payload.unwrap() {
                Payload::CustomSection(custom) => Some(custom.name().to_owned()),
                _ => None,
            });
            names.collect::<Vec<_>>()
        };
        assert_eq!(custom(&module), [".debug_line", "other", "name"]);
        assert_eq!(custom(&new), if moved { &["name"][..] } else { &[".debug_line", "other", "name"] });
        let mut run = Run::of(&new);
        assert_eq!(run.call("fill", (3, 7, 3 * PIECE)), None);
        let data = run.memory.data(&run.store);
        assert!(data[3..3 + 3 * PIECE as usize].iter().all(|byte| *byte == 7));
        assert_eq!((data[2], data[3 + 3 * PIECE as usize]), (0, 0));
    }
}

#[test]
fn an_operation_in_longer_bytes_than_needed_becomes_a_call_in_as_many() {
    for room in 2..12 {
        let call = call(5, room);
        assert_eq!((call.len(), call[0]), (room, CALL));
        let mut reader = wasmparser::BinaryReader::new(&call[1..], 0);
        assert_eq!(reader.read_var_u32().unwrap(), 5);
        assert!(call[1 + reader.original_position()..].iter().all(|byte| *byte == NOP));
    }
    assert_eq!(call(16_384, 3).len(), 4);
}

#[test]
fn what_is_valid_stays_valid_and_nothing_else_panics() {
    let module = wat::parse_str(OPERATIONS.replace("LONG", &"x".repeat(10))).unwrap();
    for cut in 0..module.len() {
        let _ = rewrite(&module[..cut]);
    }
    let mut random = fastrand::Rng::with_seed(3);
    let mut valid = 0;
    for _ in 0..20_000 {
        let mut other = module.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(8..other.len());
            other[at] = random.u8(..);
        }
        let new = rewrite(&other);
        if Module::validate(engine(), &other).is_ok() {
            let (new, what) = new.unwrap();
            valid += u32::from(what != Rewritten::NOT);
            Module::validate(engine(), &new).unwrap_or_else(|error| panic!("{error:#}: {other:?}"));
        }
    }
    assert!(valid > 100, "{valid} were valid and rewritten");
}
