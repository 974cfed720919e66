//! What a pickle may build: plain values, dicts, storages and tensors, and the few names that it may ask for.
//!
//! Values are small and copied; what they are made of lies in lists, by number. So nothing is nested, and no
//! file can make a deep or a cyclic value that would be walked or freed by recursion.

/// A value of a pickle whose texts are `'p`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'p> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'p str),
    Tuple(Items),
    /// A list; no weight lies in one, so its items are not kept.
    List,
    /// Bytes, or a whole number beyond 64 bits; not kept.
    Other,
    Dict(u32),
    Global(Global),
    Storage(u32),
    Tensor(u32),
}

/// A tuple's part of [`Objects::items`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Items {
    start: u32,
    n: u32,
}

/// How PyTorch stores a number.
#[derive(Debug, PartialEq)]
pub(super) struct Number {
    /// Name of the dtype.
    pub name: &'static str,
    /// Bytes of one.
    pub bytes: u64,
    /// Class of its storages; newer formats have none.
    storage: &'static str,
}

/// A storage: the numbers behind one or more tensors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'p> {
    /// Its entry is `data/<key>`.
    pub key: &'p str,
    pub n_bytes: u64,
    /// None of an untyped one.
    number: Option<&'static Number>,
}

/// A tensor: a view of a storage.
#[derive(Debug)]
pub(super) struct View {
    pub storage: u32,
    pub number: &'static Number,
    /// Numbers of the storage before the first.
    pub offset: u64,
    /// As many strides as dimensions.
    pub shape: Items,
    pub strides: Items,
}

/// Everything that a pickle may ask for by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    /// `torch._utils._rebuild_tensor*`, by its version.
    Tensor(u8),
    /// `torch._utils._rebuild_parameter*`: a tensor with training's marks.
    Parameter,
    Storage(&'static Number),
    UntypedStorage,
    Dtype(&'static Number),
}

/// All that a pickle has built.
#[derive(Debug)]
pub(super) struct Objects<'p> {
    /// What the pickle is of.
    pub root: Value<'p>,
    pub storages: Vec<Storage<'p>>,
    pub views: Vec<View>,
    /// Items of all tuples.
    items: Vec<Value<'p>>,
    /// Dict, key and value.
    entries: Vec<(u32, Value<'p>, Value<'p>)>,
    n_dicts: u32,
}

/// Most dimensions of a tensor; weights of language models have up to 3.
const MAX_DIMS: u32 = 8;
/// Longest key of a storage; they are decimal numbers.
const MAX_KEY_BYTES: usize = 64;

const fn number(name: &'static str, bytes: u64, storage: &'static str) -> Number {
    Number {
        name,
        bytes,
        storage,
    }
}

static NUMBERS: [Number; 21] = [
    number("float32", 4, "FloatStorage"),
    number("float16", 2, "HalfStorage"),
    number("bfloat16", 2, "BFloat16Storage"),
    number("float64", 8, "DoubleStorage"),
    number("int64", 8, "LongStorage"),
    number("int32", 4, "IntStorage"),
    number("int16", 2, "ShortStorage"),
    number("int8", 1, "CharStorage"),
    number("uint8", 1, "ByteStorage"),
    number("bool", 1, "BoolStorage"),
    number("complex64", 8, "ComplexFloatStorage"),
    number("complex128", 16, "ComplexDoubleStorage"),
    number("complex32", 4, ""),
    number("uint16", 2, ""),
    number("uint32", 4, ""),
    number("uint64", 8, ""),
    number("float8_e4m3fn", 1, ""),
    number("float8_e4m3fnuz", 1, ""),
    number("float8_e5m2", 1, ""),
    number("float8_e5m2fnuz", 1, ""),
    number("float8_e8m0fnu", 1, ""),
];

impl Global {
    /// # Errors
    /// The sentence for every other name.
    pub fn find(module: &str, name: &str) -> Result<Self, String> {
        let number = |has: fn(&Number) -> &'static str| {
            NUMBERS
                .iter()
                .find(|n| !has(n).is_empty() && has(n) == name)
        };
        let found = match (module, name) {
            ("collections", "OrderedDict") => Some(Global::OrderedDict),
            ("torch._utils", "_rebuild_tensor") => Some(Global::Tensor(1)),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Global::Tensor(2)),
            ("torch._utils", "_rebuild_tensor_v3") => Some(Global::Tensor(3)),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Some(Global::Parameter)
            }
            ("torch.storage", "UntypedStorage") => Some(Global::UntypedStorage),
            ("torch", _) => number(|n| n.storage)
                .map(Global::Storage)
                .or_else(|| number(|n| n.name).map(Global::Dtype)),
            _ => None,
        };
        found.ok_or_else(|| {
            format!(
                "asks for {}.{}, which no weight file needs",
                shortened(module),
                shortened(name)
            )
        })
    }

    fn name(self) -> &'static str {
        match self {
            Global::OrderedDict => "OrderedDict",
            Global::Tensor(_) => "_rebuild_tensor",
            Global::Parameter => "_rebuild_parameter",
            Global::Storage(number) => number.storage,
            Global::UntypedStorage => "UntypedStorage",
            Global::Dtype(number) => number.name,
        }
    }
}

impl<'p> Objects<'p> {
    pub fn new() -> Self {
        Objects {
            root: Value::None,
            storages: Vec::new(),
            views: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            n_dicts: 0,
        }
    }

    /// How much is held.
    pub fn len(&self) -> usize {
        self.storages.len() + self.views.len() + self.items.len() + 2 * self.entries.len()
    }

    pub fn tuple(&mut self, items: impl IntoIterator<Item = Value<'p>>) -> Value<'p> {
        let start = self.items.len() as u32;
        self.items.extend(items);
        let n = self.items.len() as u32 - start;
        Value::Tuple(Items { start, n })
    }

    /// A new, empty dict.
    pub fn dict(&mut self) -> Value<'p> {
        self.n_dicts += 1;
        Value::Dict(self.n_dicts - 1)
    }

    pub fn insert(&mut self, dict: u32, key: Value<'p>, value: Value<'p>) {
        self.entries.push((dict, key, value));
    }

    /// Keys and values of a dict, as they came; a key may come twice.
    pub fn entries_of(&self, dict: u32) -> impl Iterator<Item = (Value<'p>, Value<'p>)> {
        let entries = self.entries.iter().filter(move |(d, _, _)| *d == dict);
        entries.map(|(_, key, value)| (*key, *value))
    }

    /// A tensor's shape or strides.
    pub fn numbers(&self, items: Items) -> Vec<u64> {
        let values = self.slice(items).iter();
        values
            .map(|value| match value {
                Value::Int(n) => *n as u64,
                other => unreachable!("{other:?} passed the look at a tensor's dimensions"),
            })
            .collect()
    }

    /// What calling `function` gives.
    pub fn call(&mut self, function: Value<'p>, arguments: Value<'p>) -> Result<Value<'p>, String> {
        let (Value::Global(function), Value::Tuple(arguments)) = (function, arguments) else {
            return Err(format!("calls {}", function.kind()));
        };
        match (function, self.slice(arguments)) {
            (Global::OrderedDict, []) => Ok(self.dict()),
            (Global::Parameter, [tensor @ Value::Tensor(_), ..]) => Ok(*tensor),
            // The last of the six are requires_grad and hooks. A seventh would say that the numbers are to be
            // negated or conjugated.
            (Global::Tensor(1), &[storage, offset, shape, strides])
            | (Global::Tensor(2), &[storage, offset, shape, strides, _, _]) => {
                self.view(storage, offset, shape, strides, None)
            }
            (
                Global::Tensor(3),
                &[
                    storage,
                    offset,
                    shape,
                    strides,
                    _,
                    _,
                    Value::Global(Global::Dtype(number)),
                ],
            ) => self.view(storage, offset, shape, strides, Some(number)),
            _ => Err(format!(
                "calls {} with arguments that torch.save does not write",
                function.name()
            )),
        }
    }

    /// `dtype` is given where the storage is untyped.
    fn view(
        &mut self,
        storage: Value<'p>,
        offset: Value<'p>,
        shape: Value<'p>,
        strides: Value<'p>,
        dtype: Option<&'static Number>,
    ) -> Result<Value<'p>, String> {
        let Value::Storage(storage) = storage else {
            return Err(format!("makes a tensor of {}", storage.kind()));
        };
        let typed = self.storages[storage as usize].number;
        let (Some(number), true) = (typed.or(dtype), typed.is_some() != dtype.is_some()) else {
            return Err("makes a tensor of a storage of another kind".into());
        };
        let Value::Int(offset @ 0..) = offset else {
            return Err(format!("makes a tensor at the offset {}", offset.shown()));
        };
        let (shape, strides) = (self.dimensions(shape)?, self.dimensions(strides)?);
        if shape.n != strides.n {
            return Err(format!(
                "makes a tensor of {} dimensions with {} strides",
                shape.n, strides.n
            ));
        }
        self.views.push(View {
            storage,
            number,
            offset: offset as u64,
            shape,
            strides,
        });
        Ok(Value::Tensor(self.views.len() as u32 - 1))
    }

    /// A tuple of a few numbers, none of them negative.
    fn dimensions(&self, tuple: Value<'p>) -> Result<Items, String> {
        let Value::Tuple(items) = tuple else {
            return Err(format!("makes a tensor whose shape is {}", tuple.kind()));
        };
        if items.n > MAX_DIMS {
            return Err(format!(
                "makes a tensor of {} dimensions, and {MAX_DIMS} are the limit",
                items.n
            ));
        }
        let bad = self
            .slice(items)
            .iter()
            .find(|value| !matches!(value, Value::Int(0..)));
        match bad {
            Some(value) => Err(format!(
                "makes a tensor with {} among its shape and strides",
                value.shown()
            )),
            None => Ok(items),
        }
    }

    /// The storage that a persistent id means: `('storage', class, key, device, length)`.
    pub fn storage(&mut self, id: Value<'p>) -> Result<Value<'p>, String> {
        let parts = match id {
            Value::Tuple(items) => self.slice(items),
            _ => &[],
        };
        let &[
            Value::Text("storage"),
            Value::Global(class),
            Value::Text(key),
            Value::Text(_),
            Value::Int(len @ 0..),
        ] = parts
        else {
            return Err("refers to something outside that is no storage".into());
        };
        let (number, bytes) = match class {
            Global::Storage(number) => (Some(number), number.bytes),
            Global::UntypedStorage => (None, 1),
            _ => {
                return Err(format!("refers to a storage of the class {}", class.name()));
            }
        };
        if key.len() > MAX_KEY_BYTES {
            return Err(format!("refers to a storage '{}'", shortened(key)));
        }
        let n_bytes = (len as u64).checked_mul(bytes).ok_or_else(|| {
            format!("refers to a storage '{key}' of {len} numbers, which is impossibly large")
        })?;
        self.storages.push(Storage {
            key,
            n_bytes,
            number,
        });
        Ok(Value::Storage(self.storages.len() as u32 - 1))
    }

    fn slice(&self, items: Items) -> &[Value<'p>] {
        &self.items[items.start as usize..][..items.n as usize]
    }
}

impl Value<'_> {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::Tuple(_) => "a tuple",
            Value::List => "a list",
            Value::Other => "bytes or a long number",
            Value::Dict(_) => "a dict",
            Value::Global(_) => "a class or function",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }

    /// A text, bool or number.
    pub fn is_plain(&self) -> bool {
        matches!(
            self,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)
        )
    }

    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Float(x) => format!("{x:?}"),
            Value::Text(text) => shortened(text),
            other => other.kind().into(),
        }
    }
}

/// The beginning of a text that may be of any length.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}
