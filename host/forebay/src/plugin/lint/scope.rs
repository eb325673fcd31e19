//! The names of Lua files: what each stands for, as far as that can be told without running them,
//! and which functions call what.
//!
//! A value is followed through locals, fields of tables, and modules; what is written twice is the
//! last. What cannot be followed is [`Value::Unknown`], about which nothing is said.
//! Past 400 lines as it is one walk over one grammar.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use full_moon::ast::{
    Ast, Block, Call, Expression, Field, FunctionArgs, FunctionBody, Index, LastStmt, Parameter, Prefix, Stmt, Suffix,
    TableConstructor, Var,
};
use full_moon::tokenizer::{TokenReference, TokenType};

use super::Finding;
use super::surface::Surface;

pub type FunctionId = usize;
pub type TableId = usize;

/// What a name or an expression stands for.
#[derive(Clone, Debug)]
pub enum Value {
    Unknown,
    Text(String),
    /// Of the sandbox: `forebay.request.headers`, `string.find`.
    Offered(String),
    /// What a call such as `forebay.dict("name")` gave: the path without `forebay.`, and the name.
    Handle(String, Option<String>),
    Function(FunctionId),
    Table(TableId),
    /// A field that may be given later.
    Field(TableId, String),
    /// One of the functions of a table.
    AnyOf(TableId),
    /// A global of the plugin.
    Global(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub file: Rc<str>,
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, Debug)]
pub struct Function {
    /// As messages name it.
    pub name: String,
    pub at: At,
    pub calls: Vec<HostCall>,
    /// What it calls, or hands on to be called.
    pub edges: Vec<Value>,
}

#[derive(Clone, Debug)]
pub struct HostCall {
    /// Without `forebay.`.
    pub path: String,
    /// What it reaches, where it is written out.
    pub name: Option<String>,
    pub at: At,
}

/// A global that the plugin reads or writes.
#[derive(Clone, Debug)]
pub struct GlobalUse {
    pub name: String,
    pub at: At,
    pub function: FunctionId,
    pub write: bool,
}

pub struct World {
    pub surface: Surface,
    pub parsed: BTreeMap<String, Ast>,
    pub functions: Vec<Function>,
    pub tables: Vec<BTreeMap<String, Value>>,
    pub globals: BTreeMap<String, Vec<Value>>,
    pub uses: Vec<GlobalUse>,
    pub findings: Vec<Finding>,
    /// By file: what it returns, once it has been walked, and its main chunk.
    pub modules: BTreeMap<String, (FunctionId, Value)>,
}

impl World {
    pub fn new(surface: Surface) -> World {
        let (parsed, functions, tables, globals, uses, findings, modules) = Default::default();
        World { surface, parsed, functions, tables, globals, uses, findings, modules }
    }

    /// The functions that a value may be.
    pub fn resolve(&self, value: &Value) -> Vec<FunctionId> {
        self.resolve_within(value, 8)
    }

    fn resolve_within(&self, value: &Value, depth: usize) -> Vec<FunctionId> {
        if depth == 0 {
            return Vec::new();
        }
        let each = |values: Vec<&Value>| values.into_iter().flat_map(|v| self.resolve_within(v, depth - 1)).collect();
        match value {
            Value::Function(id) => vec![*id],
            Value::Field(table, name) => each(self.tables[*table].get(name).into_iter().collect()),
            Value::AnyOf(table) => each(self.tables[*table].values().collect()),
            Value::Global(name) => each(self.globals.get(name).into_iter().flatten().collect()),
            _ => Vec::new(),
        }
    }
}

/// Walks a file, once; gives its main chunk and what it returns.
pub fn walk(world: &mut World, file: &str) -> Option<(FunctionId, Value)> {
    if let Some(walked) = world.modules.get(file) {
        return Some(walked.clone());
    }
    let ast = world.parsed.get(file)?.clone();
    let at = At { file: file.into(), line: 1, column: 1 };
    let main = world.functions.len();
    world.functions.push(Function { name: file.to_owned(), at, calls: Vec::new(), edges: Vec::new() });
    // Whoever requires it in a circle gets nothing.
    world.modules.insert(file.to_owned(), (main, Value::Unknown));
    let mut walker =
        Walker { world, file: file.into(), scopes: vec![HashMap::new()], function: main, returned: Value::Unknown };
    walker.block(ast.nodes());
    let returned = walker.returned;
    world.modules.insert(file.to_owned(), (main, returned.clone()));
    Some((main, returned))
}

struct Walker<'a> {
    world: &'a mut World,
    file: Rc<str>,
    scopes: Vec<HashMap<String, Value>>,
    function: FunctionId,
    /// Of the main chunk.
    returned: Value,
}

fn word(token: &TokenReference) -> String {
    match token.token().token_type() {
        TokenType::Identifier { identifier } => identifier.to_string(),
        TokenType::StringLiteral { literal, .. } => literal.to_string(),
        _ => token.token().to_string(),
    }
}

impl Walker<'_> {
    fn at(&self, token: &TokenReference) -> At {
        let position = token.token().start_position();
        At { file: self.file.clone(), line: position.line() as u32, column: position.character() as u32 }
    }

    fn find(&mut self, at: &At, message: String) {
        let finding = Finding { file: at.file.to_string(), line: at.line, column: at.column, message };
        self.world.findings.push(finding);
    }

    fn here(&mut self) -> &mut Function {
        &mut self.world.functions[self.function]
    }

    fn bind(&mut self, name: &TokenReference, value: Value) {
        self.scopes.last_mut().expect("there is a scope while a block is walked").insert(word(name), value);
    }

    fn scoped(&mut self, walk: impl FnOnce(&mut Self)) {
        self.scopes.push(HashMap::new());
        walk(self);
        self.scopes.pop();
    }

    fn block(&mut self, block: &Block) {
        block.stmts().for_each(|stmt| self.stmt(stmt));
        if let Some(LastStmt::Return(last)) = block.last_stmt() {
            let values: Vec<_> = last.returns().iter().map(|value| self.expression(value)).collect();
            let main = self.world.modules.get(&*self.file).is_some_and(|(main, _)| *main == self.function);
            if let (true, Some(first)) = (main, values.first()) {
                self.returned = first.clone();
            }
            // A function that is handed out may be called by whoever gets it.
            if !main {
                values.into_iter().for_each(|value| self.escape(value));
            }
        }
    }

    fn inner(&mut self, block: &Block) {
        self.scoped(|walker| walker.block(block));
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::LocalAssignment(local) => {
                let values: Vec<_> = local.expressions().iter().map(|value| self.expression(value)).collect();
                for (i, name) in local.names().iter().enumerate() {
                    self.name_function(values.get(i), &word(name));
                    self.bind(name, values.get(i).cloned().unwrap_or(Value::Unknown));
                }
            }
            Stmt::LocalFunction(local) => {
                let id = self.declare(word(local.name()), self.at(local.name()));
                self.bind(local.name(), Value::Function(id));
                self.body(id, local.body(), None);
            }
            Stmt::FunctionDeclaration(declared) => {
                let names: Vec<_> = declared.name().names().iter().collect();
                let method = declared.name().method_name();
                let last = method.unwrap_or(names[names.len() - 1]);
                let id = self.declare(word(last), self.at(last));
                let mut owner = None;
                if names.len() == 1 && method.is_none() {
                    self.assign_name(last, Value::Function(id));
                } else {
                    let owners = if method.is_some() { &names[..] } else { &names[..names.len() - 1] };
                    let mut base = self.name(owners[0]);
                    for name in &owners[1..] {
                        base = self.index(base, &word(name), &self.at(name));
                    }
                    self.put(&base, &word(last), Value::Function(id));
                    owner = method.map(|_| base);
                }
                self.body(id, declared.body(), owner);
            }
            Stmt::Assignment(assignment) => {
                let values: Vec<_> = assignment.expressions().iter().map(|value| self.expression(value)).collect();
                for (i, variable) in assignment.variables().iter().enumerate() {
                    self.assign(variable, values.get(i).cloned().unwrap_or(Value::Unknown));
                }
            }
            Stmt::FunctionCall(call) => {
                self.chain(call.prefix(), &call.suffixes().collect::<Vec<_>>());
            }
            Stmt::Do(block) => self.inner(block.block()),
            Stmt::While(block) => {
                self.expression(block.condition());
                self.inner(block.block());
            }
            Stmt::Repeat(block) => self.scoped(|walker| {
                walker.block(block.block());
                walker.expression(block.until());
            }),
            Stmt::If(branch) => {
                self.expression(branch.condition());
                self.inner(branch.block());
                for other in branch.else_if().into_iter().flatten() {
                    self.expression(other.condition());
                    self.inner(other.block());
                }
                branch.else_block().into_iter().for_each(|block| self.inner(block));
            }
            Stmt::NumericFor(counted) => {
                for value in [Some(counted.start()), Some(counted.end()), counted.step()].into_iter().flatten() {
                    self.expression(value);
                }
                self.scoped(|walker| {
                    walker.bind(counted.index_variable(), Value::Unknown);
                    walker.block(counted.block());
                });
            }
            Stmt::GenericFor(over) => {
                over.expressions().iter().for_each(|value| drop(self.expression(value)));
                self.scoped(|walker| {
                    over.names().iter().for_each(|name| walker.bind(name, Value::Unknown));
                    walker.block(over.block());
                });
            }
            _ => {}
        }
    }

    fn declare(&mut self, name: String, at: At) -> FunctionId {
        self.world.functions.push(Function { name, at, calls: Vec::new(), edges: Vec::new() });
        self.world.functions.len() - 1
    }

    /// A function that was made without a name has that of what it is given to.
    fn name_function(&mut self, value: Option<&Value>, name: &str) {
        if let Some(Value::Function(id)) = value
            && self.world.functions[*id].name.is_empty()
        {
            name.clone_into(&mut self.world.functions[*id].name);
        }
    }

    fn body(&mut self, id: FunctionId, body: &FunctionBody, owner: Option<Value>) {
        let outer = std::mem::replace(&mut self.function, id);
        self.scoped(|walker| {
            if let (Some(owner), Some(scope)) = (owner, walker.scopes.last_mut()) {
                scope.insert("self".to_owned(), owner);
            }
            for parameter in body.parameters() {
                if let Parameter::Name(name) = parameter {
                    walker.bind(name, Value::Unknown);
                }
            }
            walker.block(body.block());
        });
        self.function = outer;
    }

    fn local(&mut self, name: &str) -> Option<&mut Value> {
        self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name))
    }

    fn name(&mut self, token: &TokenReference) -> Value {
        let name = word(token);
        if let Some(value) = self.local(&name) {
            return value.clone();
        }
        if self.world.surface.has(&name) {
            return Value::Offered(name);
        }
        let at = self.at(token);
        self.world.uses.push(GlobalUse { name: name.clone(), at, function: self.function, write: false });
        Value::Global(name)
    }

    fn assign_name(&mut self, token: &TokenReference, value: Value) {
        let name = word(token);
        self.name_function(Some(&value), &name);
        if let Some(local) = self.local(&name) {
            *local = value;
            return;
        }
        let at = self.at(token);
        self.world.uses.push(GlobalUse { name: name.clone(), at, function: self.function, write: true });
        self.world.globals.entry(name).or_default().push(value);
    }

    fn assign(&mut self, variable: &Var, value: Value) {
        match variable {
            Var::Name(name) => self.assign_name(name, value),
            Var::Expression(path) => {
                let suffixes: Vec<_> = path.suffixes().collect();
                let Some((last, before)) = suffixes.split_last() else { return };
                let base = self.chain(path.prefix(), before);
                if let Suffix::Index(index) = last
                    && let (Some(name), _) = self.key(index)
                {
                    self.put(&base, &name, value);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, base: &Value, name: &str, value: Value) {
        self.name_function(Some(&value), name);
        if let Value::Table(table) = base {
            self.world.tables[*table].insert(name.to_owned(), value);
        }
    }

    /// The name in an index, where it is written out, and where it stands.
    fn key(&mut self, index: &Index) -> (Option<String>, Option<At>) {
        match index {
            Index::Dot { name, .. } => (Some(word(name)), Some(self.at(name))),
            Index::Brackets { expression, brackets } => match self.expression(expression) {
                Value::Text(text) => (Some(text), Some(self.at(brackets.tokens().0))),
                _ => (None, None),
            },
            _ => (None, None),
        }
    }

    fn index(&mut self, base: Value, name: &str, at: &At) -> Value {
        match base {
            Value::Offered(path) if self.world.surface.is_table(&path) => {
                let below = format!("{path}.{name}");
                if self.world.surface.has(&below) {
                    return Value::Offered(below);
                }
                // `_G` shows the globals, and a plugin may have its own.
                if path != "_G" {
                    let near = self.world.surface.near(&below).map(|near| format!("; did you mean {near}?"));
                    self.find(at, format!("there is no {below}{}", near.unwrap_or_default()));
                }
                Value::Unknown
            }
            Value::Table(table) => match self.world.tables[table].get(name) {
                Some(value) => value.clone(),
                None => Value::Field(table, name.to_owned()),
            },
            _ => Value::Unknown,
        }
    }

    /// Handed to somebody who may call it.
    fn escape(&mut self, value: Value) {
        match value {
            Value::Offered(path) => drop(path),
            Value::Function(_) | Value::Field(..) | Value::Global(_) => self.here().edges.push(value),
            _ => {}
        }
    }

    fn chain(&mut self, prefix: &Prefix, suffixes: &[&Suffix]) -> Value {
        let mut at = match prefix {
            Prefix::Name(name) => self.at(name),
            _ => At { file: self.file.clone(), line: 0, column: 0 },
        };
        let mut value = match prefix {
            Prefix::Name(name) => self.name(name),
            Prefix::Expression(inner) => self.expression(inner),
            _ => Value::Unknown,
        };
        for suffix in suffixes {
            value = match suffix {
                Suffix::Index(index) => match (self.key(index), value) {
                    ((Some(name), place), base) => {
                        at = place.unwrap_or(at);
                        self.index(base, &name, &at)
                    }
                    (_, Value::Table(table)) => Value::AnyOf(table),
                    _ => Value::Unknown,
                },
                Suffix::Call(Call::AnonymousCall(arguments)) => self.call(value, arguments, &at),
                Suffix::Call(Call::MethodCall(call)) => {
                    at = self.at(call.name());
                    self.method(value, &word(call.name()), call.args(), &at)
                }
                _ => Value::Unknown,
            };
        }
        value
    }

    fn arguments(&mut self, arguments: &FunctionArgs) -> Vec<Value> {
        match arguments {
            FunctionArgs::Parentheses { arguments, .. } => arguments.iter().map(|one| self.expression(one)).collect(),
            FunctionArgs::String(text) => vec![Value::Text(word(text))],
            FunctionArgs::TableConstructor(table) => vec![self.table(table)],
            _ => Vec::new(),
        }
    }

    fn call(&mut self, callee: Value, arguments: &FunctionArgs, at: &At) -> Value {
        let arguments = self.arguments(arguments);
        let first = match arguments.first() {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let Value::Offered(path) = callee else {
            arguments.into_iter().for_each(|argument| self.escape(argument));
            self.here().edges.push(callee);
            return Value::Unknown;
        };
        if path == "require" {
            return first.map_or(Value::Unknown, |module| self.require(&module));
        }
        // `pcall(forebay.sleep, 1)`: the call that it makes.
        if let ("pcall" | "xpcall", Some(Value::Offered(inner))) = (path.as_str(), arguments.first()) {
            let name = match arguments.get(1) {
                Some(Value::Text(text)) => Some(text.clone()),
                _ => None,
            };
            self.host_call(&inner.clone(), name, at);
        }
        let made = arguments.first().cloned();
        arguments.into_iter().for_each(|argument| self.escape(argument));
        if path == "setmetatable" {
            return made.unwrap_or(Value::Unknown);
        }
        self.host_call(&path, first.clone(), at);
        match path.strip_prefix("forebay.") {
            Some(path) if super::reach::is_factory(path) => Value::Handle(path.to_owned(), first),
            _ => Value::Unknown,
        }
    }

    fn method(&mut self, base: Value, name: &str, arguments: &FunctionArgs, at: &At) -> Value {
        let arguments = self.arguments(arguments);
        arguments.into_iter().for_each(|argument| self.escape(argument));
        match base {
            Value::Handle(path, reached) => {
                let call = HostCall { path: format!("{path}.{name}"), name: reached, at: at.clone() };
                self.here().calls.push(call);
            }
            Value::Table(table) => self.here().edges.push(Value::Field(table, name.to_owned())),
            _ => {}
        }
        Value::Unknown
    }

    fn host_call(&mut self, path: &str, name: Option<String>, at: &At) {
        if let Some(path) = path.strip_prefix("forebay.") {
            let call = HostCall { path: path.to_owned(), name, at: at.clone() };
            self.here().calls.push(call);
        }
    }

    fn require(&mut self, module: &str) -> Value {
        let file = format!("{}.lua", module.replace('.', "/"));
        match walk(self.world, &file) {
            Some((main, value)) => {
                self.here().edges.push(Value::Function(main));
                value
            }
            // Of sdk-lua, or one that is not there, which loading finds.
            None => Value::Unknown,
        }
    }

    fn table(&mut self, table: &TableConstructor) -> Value {
        let id = self.world.tables.len();
        self.world.tables.push(BTreeMap::new());
        for field in table.fields() {
            match field {
                Field::NameKey { key, value, .. } => {
                    let value = self.expression(value);
                    self.put(&Value::Table(id), &word(key), value);
                }
                Field::ExpressionKey { key, value, .. } => {
                    let (key, value) = (self.expression(key), self.expression(value));
                    if let Value::Text(name) = key {
                        self.put(&Value::Table(id), &name, value);
                    }
                }
                Field::NoKey(value) => {
                    let value = self.expression(value);
                    let place = self.world.tables[id].len().to_string();
                    self.world.tables[id].insert(format!("[{place}]"), value);
                }
                _ => {}
            }
        }
        Value::Table(id)
    }

    fn expression(&mut self, expression: &Expression) -> Value {
        match expression {
            Expression::BinaryOperator { lhs, binop, rhs } => {
                let (left, right) = (self.expression(lhs), self.expression(rhs));
                match (left, binop.token().token().to_string().as_str()) {
                    (Value::Unknown, "or") => right,
                    (left, "or") => left,
                    (_, "and") => right,
                    _ => Value::Unknown,
                }
            }
            Expression::Parentheses { expression, .. } => self.expression(expression),
            Expression::UnaryOperator { expression, .. } => {
                self.expression(expression);
                Value::Unknown
            }
            Expression::Function(function) => {
                let id = self.declare(String::new(), self.at(function.function_token()));
                self.body(id, function.body(), None);
                Value::Function(id)
            }
            Expression::FunctionCall(call) => self.chain(call.prefix(), &call.suffixes().collect::<Vec<_>>()),
            Expression::TableConstructor(table) => self.table(table),
            Expression::String(text) => Value::Text(word(text)),
            Expression::Var(Var::Name(name)) => self.name(name),
            Expression::Var(Var::Expression(path)) => self.chain(path.prefix(), &path.suffixes().collect::<Vec<_>>()),
            _ => Value::Unknown,
        }
    }
}
