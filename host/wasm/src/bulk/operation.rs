//! The operations that may be long, and for each the function that does it with a look at the epoch now
//! and then.

use std::collections::BTreeMap;

use wasm_encoder::{BlockType, Function, Instruction};
use wasmparser::{Operator, ValType};

/// Bytes that are written without a look at the epoch: some 50 µs of them, or less where they are warm.
const BYTES: u32 = 256 << 10;
/// And elements of a table: each may take 20 ns.
const ELEMENTS: u32 = 8 << 10;

/// By what it works on. Fills come first: they are written in three bytes, and have the least room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Fill,
    TableFill { table: u32 },
    Copy,
    TableCopy { to: u32, from: u32 },
    Init { segment: u32, length: u32 },
    TableInit { table: u32, segment: u32, length: u32 },
}

/// How long the segments are that a module may copy from while it runs, by their index.
#[derive(Default)]
pub struct Segments {
    pub bytes: BTreeMap<u32, u32>,
    pub elements: BTreeMap<u32, u32>,
}

impl Operation {
    /// Of an instruction that may be a long one.
    pub fn of(operator: &Operator<'_>, segments: &Segments) -> Option<Operation> {
        let operation = match *operator {
            Operator::MemoryFill { mem: 0 } => Operation::Fill,
            Operator::MemoryCopy { dst_mem: 0, src_mem: 0 } => Operation::Copy,
            Operator::MemoryInit { data_index: segment, mem: 0 } => {
                Operation::Init { segment, length: *segments.bytes.get(&segment)? }
            }
            Operator::TableFill { table } => Operation::TableFill { table },
            Operator::TableCopy { dst_table: to, src_table: from } => Operation::TableCopy { to, from },
            Operator::TableInit { elem_index: segment, table } => {
                Operation::TableInit { table, segment, length: *segments.elements.get(&segment)? }
            }
            _ => return None,
        };
        match operation {
            Operation::Init { length, .. } | Operation::TableInit { length, .. } if length <= operation.piece() => None,
            _ => Some(operation),
        }
    }

    /// What is done without a look at the epoch.
    pub const fn piece(self) -> u32 {
        match self {
            Operation::Fill | Operation::Copy | Operation::Init { .. } => BYTES,
            Operation::TableFill { .. } | Operation::TableCopy { .. } | Operation::TableInit { .. } => ELEMENTS,
        }
    }

    /// Where to, where from or what with, and how much.
    pub fn operands(self) -> [ValType; 3] {
        match self {
            Operation::TableFill { .. } => [ValType::I32, ValType::FUNCREF, ValType::I32],
            _ => [ValType::I32; 3],
        }
    }

    fn instruction(self) -> Instruction<'static> {
        match self {
            Operation::Fill => Instruction::MemoryFill(0),
            Operation::Copy => Instruction::MemoryCopy { src_mem: 0, dst_mem: 0 },
            Operation::Init { segment, .. } => Instruction::MemoryInit { mem: 0, data_index: segment },
            Operation::TableFill { table } => Instruction::TableFill(table),
            Operation::TableCopy { to, from } => Instruction::TableCopy { src_table: from, dst_table: to },
            Operation::TableInit { table, segment, .. } => Instruction::TableInit { elem_index: segment, table },
        }
    }

    /// How large what it writes to is, and what it reads from.
    fn sizes(self) -> (Vec<Instruction<'static>>, Option<Vec<Instruction<'static>>>) {
        use Instruction as I;
        let memory = || vec![I::MemorySize(0), I::I64ExtendI32U, I::I64Const(16), I::I64Shl];
        let of_table = |table| vec![I::TableSize(table), I::I64ExtendI32U];
        // A segment that was dropped has nothing: the first piece traps then.
        let of_segment = |length: u32| Some(vec![I::I64Const(length.into())]);
        match self {
            Operation::Fill => (memory(), None),
            Operation::Copy => (memory(), Some(memory())),
            Operation::Init { length, .. } => (memory(), of_segment(length)),
            Operation::TableFill { table } => (of_table(table), None),
            Operation::TableCopy { to, from } => (of_table(to), Some(of_table(from))),
            Operation::TableInit { table, length, .. } => (of_table(table), of_segment(length)),
        }
    }

    /// The function of its operands `(a, b, n)`. A call of it looks at the epoch, and so does each turn of its
    /// loop.
    ///
    /// ```text
    /// if n > piece and all of it is in bounds
    ///     do the first piece (or the last) and leave it out, while n > piece
    /// do the rest: all of it, if it was short or is out of bounds
    /// ```
    pub fn function(self) -> Function {
        use Instruction as I;
        let (a, b, n) = (0, 1, 2);
        let piece = I::I32Const(self.piece() as i32);
        let is_long = [I::LocalGet(n), piece.clone(), I::I32GtU];
        let ends = |local| [I::LocalGet(local), I::I64ExtendI32U, I::LocalGet(n), I::I64ExtendI32U, I::I64Add];

        let (to, from) = self.sizes();
        let mut code = is_long.to_vec();
        code.push(I::If(BlockType::Empty));
        code.extend(ends(a).into_iter().chain(to).chain([I::I64LeU]));
        if let Some(from) = from {
            code.extend(ends(b).into_iter().chain(from).chain([I::I64LeU, I::I32And]));
        }
        code.push(I::If(BlockType::Empty));
        if let Operation::Copy | Operation::TableCopy { .. } = self {
            // From its end if it moves up, so that nothing is overwritten that is still to be read.
            code.extend([I::LocalGet(a), I::LocalGet(b), I::I32GtU, I::If(BlockType::Empty)]);
            code.extend(self.downwards());
            code.push(I::Else);
            code.extend(self.upwards());
            code.push(I::End);
        } else {
            code.extend(self.upwards());
        }
        code.extend([I::End, I::End, I::LocalGet(a), I::LocalGet(b), I::LocalGet(n), self.instruction(), I::End]);

        let mut function = Function::new([]);
        for instruction in &code {
            function.instruction(instruction);
        }
        function
    }

    fn upwards(self) -> Vec<Instruction<'static>> {
        use Instruction as I;
        let (a, b, n) = (0, 1, 2);
        let piece = I::I32Const(self.piece() as i32);
        let advance = |local| [I::LocalGet(local), piece.clone(), I::I32Add, I::LocalSet(local)];
        let mut code = vec![I::Loop(BlockType::Empty)];
        code.extend([I::LocalGet(a), I::LocalGet(b), piece.clone(), self.instruction()]);
        code.extend(advance(a));
        if !matches!(self, Operation::Fill | Operation::TableFill { .. }) {
            code.extend(advance(b));
        }
        code.extend([I::LocalGet(n), piece.clone(), I::I32Sub, I::LocalTee(n)]);
        code.extend([piece, I::I32GtU, I::BrIf(0), I::End]);
        code
    }

    fn downwards(self) -> Vec<Instruction<'static>> {
        use Instruction as I;
        let (a, b, n) = (0, 1, 2);
        let piece = I::I32Const(self.piece() as i32);
        let mut code = vec![I::Loop(BlockType::Empty)];
        code.extend([I::LocalGet(n), piece.clone(), I::I32Sub, I::LocalSet(n)]);
        code.extend([I::LocalGet(a), I::LocalGet(n), I::I32Add, I::LocalGet(b), I::LocalGet(n), I::I32Add]);
        code.extend([piece.clone(), self.instruction()]);
        code.extend([I::LocalGet(n), piece, I::I32GtU, I::BrIf(0), I::End]);
        code
    }
}
