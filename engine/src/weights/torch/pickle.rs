//! Runs a pickle, the program that `torch.save` writes, for a stack machine with a memo.
//!
//! Python's own machine may call any function of any module. This one has the opcodes that dicts of tensors and
//! plain values need, in protocols 2 to 5, and refuses every other. It runs each opcode once, in order, holds a
//! bounded number of values, and knows no function but those of [`Global`].

use super::{
    objects::{Global, Objects, Value, shortened},
    zip::Bytes,
};

/// Most values that wait on the stack; torch.save hands over dicts in pieces of 1,000 entries.
const MAX_STACK: usize = 1 << 16;
/// Most values that are kept, by the memo and in tuples and dicts; a tensor takes 27.
const MAX_VALUES: usize = 1 << 20;

/// What the pickle builds.
///
/// # Errors
/// What it does that it may not, as the rest of a sentence.
pub(super) fn run(pickle: &[u8]) -> Result<Objects<'_>, String> {
    let mut machine = Machine {
        bytes: Bytes::new(pickle),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        objects: Objects::new(),
    };
    let Some([0x80, 2..=5]) = machine.bytes.take(2) else {
        return Err("is not a pickle of protocol 2 to 5".into());
    };
    loop {
        let at = machine.bytes.position();
        let located = |problem: String| format!("{problem} (at its byte {at})");
        let opcode = machine.uint(1).map_err(located)? as u8;
        if opcode == b'.' {
            machine.objects.root = machine.pop().map_err(located)?;
            return Ok(machine.objects);
        }
        machine.step(opcode).map_err(located)?;
        if machine.memo.len() + machine.objects.len() > MAX_VALUES {
            return Err(format!(
                "holds more than {MAX_VALUES} values, which no weight file does"
            ));
        }
    }
}

struct Machine<'p> {
    bytes: Bytes<'p>,
    stack: Vec<Value<'p>>,
    /// Heights of the stack at which a tuple, or a piece of a list or dict, began.
    marks: Vec<usize>,
    memo: Vec<Value<'p>>,
    objects: Objects<'p>,
}

impl<'p> Machine<'p> {
    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88)),
            b'K' => self.int(1),
            b'M' => self.int(2),
            b'J' => self.signed(4),
            0x8a => self.long(),
            b'G' => self.float(),
            b'X' => self.text(4),
            0x8c => self.text(1),
            b'B' => self.skip_bytes(4),
            b'C' => self.skip_bytes(1),
            b'(' => self.mark(),
            b')' => self.tuple(self.stack.len()),
            0x85..=0x87 => self.short_tuple(opcode - 0x84),
            b't' => self.since_mark().and_then(|start| self.tuple(start)),
            b']' => self.push(Value::List),
            b'a' => self.append(),
            b'e' => self.since_mark().and_then(|start| self.extend(start)),
            b'}' => {
                let dict = self.objects.dict();
                self.push(dict)
            }
            b's' => self.set_item(),
            b'u' => self.since_mark().and_then(|start| self.set_items(start)),
            b'c' => self.global(),
            0x93 => self.stack_global(),
            b'R' => self.call(),
            b'b' => self.build(),
            b'Q' => self.persistent(),
            b'q' => self.put(1),
            b'r' => self.put(4),
            0x94 => self.memoize(),
            b'h' => self.get(1),
            b'j' => self.get(4),
            // A frame tells only how many bytes to read at once.
            0x95 => self.take(8).map(drop),
            other => Err(refusal(other)),
        }
    }

    fn take(&mut self, n: u64) -> Result<&'p [u8], String> {
        self.bytes
            .take(n)
            .ok_or_else(|| "ends before it says that it is complete".into())
    }

    /// A little-endian number of `n` bytes.
    fn uint(&mut self, n: u64) -> Result<u64, String> {
        self.take(n).map(super::super::reader::unsigned)
    }

    fn push(&mut self, value: Value<'p>) -> Result<(), String> {
        if self.stack.len() + self.marks.len() >= MAX_STACK {
            return Err(format!(
                "lets more than {MAX_STACK} values wait, which no weight file does"
            ));
        }
        self.stack.push(value);
        Ok(())
    }

    /// The lowest value that may be taken: those below the last mark wait for what is above it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value<'p>, String> {
        let floor = self.floor();
        match self.stack.pop() {
            Some(value) if self.stack.len() >= floor => Ok(value),
            _ => Err("takes a value that it did not make".into()),
        }
    }

    /// The value that the values from `start` on are for.
    fn target(&self, start: usize) -> Result<Value<'p>, String> {
        if start <= self.floor() {
            return Err("takes a value that it did not make".into());
        }
        Ok(self.stack[start - 1])
    }

    fn mark(&mut self) -> Result<(), String> {
        if self.stack.len() + self.marks.len() >= MAX_STACK {
            return Err(format!(
                "opens more than {MAX_STACK} parts at once, which no weight file does"
            ));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn since_mark(&mut self) -> Result<usize, String> {
        self.marks
            .pop()
            .ok_or_else(|| "ends a part that it did not begin".into())
    }

    fn int(&mut self, n_bytes: u64) -> Result<(), String> {
        let n = self.uint(n_bytes)?;
        self.push(Value::Int(n as i64))
    }

    /// Two's complement, at most eight bytes.
    fn signed(&mut self, n_bytes: u64) -> Result<(), String> {
        let unused_bits = 64 - 8 * n_bytes as u32;
        let n = self.uint(n_bytes)?;
        let n = n.checked_shl(unused_bits).unwrap_or(0) as i64;
        self.push(Value::Int(n.checked_shr(unused_bits).unwrap_or(0)))
    }

    fn long(&mut self) -> Result<(), String> {
        let n_bytes = self.uint(1)?;
        if n_bytes <= 8 {
            return self.signed(n_bytes);
        }
        self.take(n_bytes)?;
        self.push(Value::Other)
    }

    /// The only number that pickles write big-endian.
    fn float(&mut self) -> Result<(), String> {
        let bits = self.uint(8)?.swap_bytes();
        self.push(Value::Float(f64::from_bits(bits)))
    }

    fn text(&mut self, length_bytes: u64) -> Result<(), String> {
        let n = self.uint(length_bytes)?;
        let text = utf8(self.take(n)?)?;
        self.push(Value::Text(text))
    }

    fn skip_bytes(&mut self, length_bytes: u64) -> Result<(), String> {
        let n = self.uint(length_bytes)?;
        self.take(n)?;
        self.push(Value::Other)
    }

    fn short_tuple(&mut self, n: u8) -> Result<(), String> {
        match self.stack.len().checked_sub(usize::from(n)) {
            Some(start) if start >= self.floor() => self.tuple(start),
            _ => Err("takes a value that it did not make".into()),
        }
    }

    fn tuple(&mut self, start: usize) -> Result<(), String> {
        let tuple = self.objects.tuple(self.stack.drain(start..));
        self.push(tuple)
    }

    fn append(&mut self) -> Result<(), String> {
        self.pop()?;
        self.extend(self.stack.len())
    }

    fn extend(&mut self, start: usize) -> Result<(), String> {
        match self.target(start)? {
            Value::List => {
                self.stack.truncate(start);
                Ok(())
            }
            other => Err(format!("puts items into {}", other.kind())),
        }
    }

    fn set_item(&mut self) -> Result<(), String> {
        let start = self.stack.len().saturating_sub(2);
        self.set_items(start)
    }

    fn set_items(&mut self, start: usize) -> Result<(), String> {
        let Value::Dict(dict) = self.target(start)? else {
            return Err(format!("sets items of {}", self.target(start)?.kind()));
        };
        let (pairs, []) = self.stack[start..].as_chunks::<2>() else {
            return Err("gives a dict a key without a value".into());
        };
        for [key, value] in pairs {
            self.objects.insert(dict, *key, *value);
        }
        self.stack.truncate(start);
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (Some(module), Some(name)) = (self.bytes.line(), self.bytes.line()) else {
            return Err("ends within a name".into());
        };
        let global = Global::find(utf8(module)?, utf8(name)?)?;
        self.push(Value::Global(global))
    }

    fn stack_global(&mut self) -> Result<(), String> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (module, name) else {
            return Err("asks for a name that is no text".into());
        };
        let global = Global::find(module, name)?;
        self.push(Value::Global(global))
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let made = self.objects.call(function, arguments)?;
        self.push(made)
    }

    /// Attributes of an object. An OrderedDict's are the versions of its modules, which nothing here reads.
    fn build(&mut self) -> Result<(), String> {
        self.pop()?;
        match self.target(self.stack.len())? {
            Value::Dict(_) => Ok(()),
            other => Err(format!("sets attributes of {}", other.kind())),
        }
    }

    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let storage = self.objects.storage(id)?;
        self.push(storage)
    }

    fn put(&mut self, index_bytes: u64) -> Result<(), String> {
        let index = self.uint(index_bytes)?;
        let value = self.target(self.stack.len())?;
        // Python numbers the memo from 0 on without gaps.
        match usize::try_from(index) {
            Ok(i) if i < self.memo.len() => self.memo[i] = value,
            Ok(i) if i == self.memo.len() => self.memo.push(value),
            _ => {
                return Err(format!(
                    "remembers a value as number {index} when it has {}",
                    self.memo.len()
                ));
            }
        }
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), String> {
        let value = self.target(self.stack.len())?;
        self.memo.push(value);
        Ok(())
    }

    fn get(&mut self, index_bytes: u64) -> Result<(), String> {
        let index = self.uint(index_bytes)?;
        let value = usize::try_from(index).ok().and_then(|i| self.memo.get(i));
        match value {
            Some(value) => self.push(*value),
            None => Err(format!(
                "recalls the value {index} and has {}",
                self.memo.len()
            )),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
        format!("has a text that is not UTF-8: '{}'", shortened(&text))
    })
}

/// Why an opcode is not run.
fn refusal(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'P' => "PERSID",
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        b'I' => "INT",
        b'L' => "LONG",
        b'F' => "FLOAT",
        b'S' => "STRING",
        b'T' => "BINSTRING",
        b'U' => "SHORT_BINSTRING",
        b'V' => "UNICODE",
        b'd' => "DICT",
        b'l' => "LIST",
        b'g' => "GET",
        b'p' => "PUT",
        0x80 => "PROTO",
        0x8b => "LONG4",
        0x8d => "BINUNICODE8",
        0x8e => "BINBYTES8",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        other => return format!("has the unknown opcode {other:#04x}"),
    };
    format!("uses the opcode {name}, which no weight file needs")
}
