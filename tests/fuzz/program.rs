//! Writes random programs out of what the sandbox offers.
//! Long because of its lists of what a program is made of.

const ATOMS: &[&str] = &[
    "nil",
    "true",
    "0",
    "-1",
    "1",
    "3",
    "0/0",
    "1e308",
    "2^31",
    "''",
    "'abc'",
    "'%w+'",
    "'(a*(.)%w(%s*))'",
    "s",
    "t",
    "f",
    "co",
    "x",
    "y",
    "string.rep('ab', 5000)",
    "string.rep('[', 300)",
    "'{\"a\":[1,2,{}]}'",
    "json.null",
    "forebay.sleep(0)",
    "forebay.http.call('abc', {})",
    "forebay.request.body()",
    "json",
    "forebay",
    "string",
    "forebay.dict('abc')",
    "forebay.metric.counter('c')",
    "math.huge",
    "-2^53",
    "'\\0\\255'",
    "string.rep('x', 100000)",
    "{}",
    "{ 3, 1, 2 }",
    "{ a = 1, b = { 2 } }",
    "function(...) return ... end",
    "error",
    "print",
    "_G",
    "function(a) n = n + 1 if n % 7 == 0 then error(a) end return a end",
    "coroutine.wrap(function(...) return coroutine.yield(...) end)",
    "setmetatable({}, m)",
    "setmetatable({ 1 }, { __index = f, __call = f })",
    "coroutine.create(f)",
    "('()'):rep(32)",
    "'[^%s]-$'",
    "'%f[%w]'",
];

const CALLS: &[&str] = &[
    "string.find",
    "string.match",
    "string.gsub",
    "string.gmatch",
    "string.rep",
    "string.format",
    "string.sub",
    "string.byte",
    "string.upper",
    "string.reverse",
    "string.char",
    "table.concat",
    "table.insert",
    "table.remove",
    "table.sort",
    "table.new",
    "table.clear",
    "table.nkeys",
    "table.clone",
    "table.isarray",
    "table.move",
    "table.maxn",
    "table.foreach",
    "unpack",
    "select",
    "next",
    "ipairs",
    "pairs",
    "tostring",
    "tonumber",
    "load",
    "pcall",
    "xpcall",
    "pcall",
    "setmetatable",
    "getmetatable",
    "rawset",
    "rawget",
    "rawequal",
    "error",
    "assert",
    "coroutine.create",
    "coroutine.resume",
    "coroutine.wrap",
    "coroutine.yield",
    "coroutine.status",
    "coroutine.running",
    "os.time",
    "math.max",
    "math.random",
    "bit.band",
    "bit.lshift",
    "forebay.request.headers.get",
    "forebay.request.headers.set",
    "forebay.request.headers.pairs",
    "forebay.request.headers.get_all",
    "forebay.request.body",
    "forebay.ctx.set",
    "forebay.ctx.get",
    "forebay.dict",
    "forebay.log.info",
    "forebay.property.get",
    "forebay.sleep",
    "forebay.http.call",
    "forebay.metric.counter",
    "forebay.abi.has",
    "forebay.now",
    "require",
    "print",
    "forebay.respond",
    "forebay.request.set_body",
    "forebay.request.headers.add",
    "f",
    "g",
    "x",
    "y",
    "co",
    "t.a",
];

pub struct Writer {
    pub random: fastrand::Rng,
    /// What can be called: the list above, and every function that a script finds.
    pub functions: Vec<String>,
}

impl Writer {
    fn one(&mut self, of: &'static [&'static str]) -> &'static str {
        of[self.random.usize(..of.len())]
    }

    fn expression(&mut self, depth: u32) -> String {
        match self.random.u32(..10) {
            0..=3 => self.one(ATOMS).to_owned(),
            _ if depth == 0 => self.one(ATOMS).to_owned(),
            4..=6 => self.call(depth - 1),
            7 => {
                let (a, b) = (self.expression(depth - 1), self.expression(depth - 1));
                let operator = self.one(&["+", "..", "<", "==", "and", "or", "%", "^", "*", "~="]);
                format!("({a} {operator} {b})")
            }
            8 => format!("({})[{}]", self.expression(depth - 1), self.expression(depth - 1)),
            _ => format!("function(...) {} end", self.block(depth - 1)),
        }
    }

    fn call(&mut self, depth: u32) -> String {
        let function = if self.random.bool() || self.functions.is_empty() {
            self.one(CALLS).to_owned()
        } else {
            self.functions[self.random.usize(..self.functions.len())].clone()
        };
        let arguments: Vec<_> = (0..self.random.u32(..5)).map(|_| self.expression(depth)).collect();
        format!("{function}({})", arguments.join(", "))
    }

    fn block(&mut self, depth: u32) -> String {
        (0..1 + self.random.u32(..4)).map(|_| self.statement(depth) + " ").collect()
    }

    fn statement(&mut self, depth: u32) -> String {
        let inner = depth.saturating_sub(1);
        match self.random.u32(..14) {
            0..=3 => format!("pcall(function() {} end)", self.call(inner)),
            4 => format!("x = {}", self.expression(inner)),
            5 => format!("y, s = {}, tostring({})", self.expression(inner), self.expression(inner)),
            6 => format!("t[{} or 1] = {}", self.one(&["1", "#t + 1", "'a'", "x", "n", "{}"]), self.expression(inner)),
            7 if depth > 0 => {
                format!("for i = 1, {} do {} end", self.one(&["3", "100", "1e9", "#t"]), self.block(inner))
            }
            8 if depth > 0 => format!("for k, v in {}(t) do {} end", self.one(&["pairs", "ipairs"]), self.block(inner)),
            9 if depth > 0 => {
                format!("while {} do n = n + 1 {} end", self.one(&["n % 50 ~= 0", "true", "x"]), self.block(inner))
            }
            10 if depth > 0 => format!("if {} then {} end", self.expression(inner), self.block(inner)),
            11 if depth > 0 => format!("f = function(...) {} return ... end", self.block(inner)),
            12 if depth > 0 => format!("pcall(coroutine.wrap(function(...) {} end), x)", self.block(inner)),
            13 if depth > 0 => format!(
                "co = coroutine.wrap(function(...) {} coroutine.yield(...) {} end)",
                self.block(inner),
                self.block(inner)
            ),
            _ => format!(
                "m.{} = {}",
                self.one(&[
                    "__index",
                    "__newindex",
                    "__call",
                    "__tostring",
                    "__lt",
                    "__concat",
                    "__eq",
                    "__len",
                    "__mode",
                    "__add",
                    "__unm",
                    "__le",
                    "__gc",
                    "__metatable"
                ]),
                self.expression(inner)
            ),
        }
    }

    pub fn program(&mut self) -> String {
        // Seldom: what loops there takes half a second to be ended.
        let start = if self.random.u8(..) < 6 { self.block(2) } else { String::new() };
        let (body, response) = (self.block(5), self.block(3));
        format!(
            "local n, s, x, y = 0, 'text', 1, 2
            local t, m = {{ 1, 2, 3, a = print }}, {{}}
            local f = function(...) return ... end
            local g = function(h, ...) return pcall(h, ...) end
            local co = coroutine.wrap(function() while true do coroutine.yield(1) end end)
            local json, jwt, hash = require('forebay.json'), require('forebay.jwt'), require('forebay.hash')
            local base64, hex, time, url = require('forebay.base64'), require('forebay.hex'), require('forebay.time'), require('forebay.url')
            local cookie = require('forebay.cookie')
            pcall(function() {start} end)
            return {{
                on_request_headers = function() {body} end,
                on_response_headers = function() {response} end,
                on_log = function() forebay.log.info('fine ' .. ('abc'):upper() .. math.floor(2.5) .. #table.concat({{ 1, 2 }})) end,
            }}"
        )
    }
}
