//! Writes what the fuzz target calls: arguments that are edges, that point to texts which mean something, that
//! overlap, that lie; and changed ones of calls that were let through.

use super::fuzz_guest::{ARGUMENTS, BLOCKS, FREE, HOW, INDEX, Import, MEMORY, Script, TEXTS};

/// A call of each import that random ones seldom find. `'x` is a text, `=1` a number, `map` some headers, `out` where
/// an answer is put.
const CALLS: &[(&str, &str)] = &[
    ("proxy_http_call", "'authz map 'body ' =1000 out"),
    ("proxy_grpc_call", "'authz 'Service 'Method ' 'message =1000 out"),
    ("proxy_grpc_stream", "'authz 'Service 'Method ' out"),
    ("proxy_grpc_send", "=60 'message =1"),
    ("proxy_grpc_cancel", "=60"),
    ("proxy_grpc_close", "=60"),
    ("proxy_send_local_response", "=403 'detail 'body map =0"),
    ("proxy_send_local_response", "=403 'detail 'body ' =4294967295"),
    ("proxy_get_header_map_value", "=0 'a out out"),
    ("proxy_set_header_map_pairs", "=0 map"),
    ("proxy_set_header_map_pairs", "=2 map"),
    ("proxy_get_property", "'a out out"),
    ("proxy_get_shared_data", "'a out out out"),
    ("proxy_register_shared_queue", "'jobs out"),
    ("proxy_resolve_shared_queue", "'vm 'jobs out"),
    ("proxy_dequeue_shared_queue", "=3 out out"),
    ("proxy_set_shared_data", "'key 'value =0"),
    ("proxy_set_buffer_bytes", "=0 =0 =4 'body"),
    ("proxy_set_buffer_bytes", "=1 =0 =4 'body"),
    ("fd_write", "=1 =24576 =0 out"),
    ("random_get", "=24576 =16"),
    ("proxy_log", "=2 'message"),
    ("proxy_set_property", "'path 'value"),
    ("proxy_add_header_map_value", "=0 'a 'b"),
    ("proxy_replace_header_map_value", "=0 'a 'b"),
    ("proxy_remove_header_map_value", "=0 'a"),
    ("proxy_enqueue_shared_queue", "=3 'item"),
    ("proxy_define_metric", "=0 'm out"),
    ("proxy_increment_metric", "=1 =5"),
    ("proxy_record_metric", "=1 =5"),
    ("proxy_get_metric", "=1 out"),
    ("proxy_close_stream", "=0"),
    ("proxy_continue_stream", "=0"),
    ("proxy_set_effective_context", "=1"),
    ("proxy_call_foreign_function", "'compress 'aaaaaaaa out out"),
    ("proxy_call_foreign_function", "'uncompress 'aaaaaaaa out out"),
    ("proxy_call_foreign_function", "'forebay_abi_version ' out out"),
    ("forebay_abi_has", "'sleep out"),
    ("forebay_time_sleep", "=1000000 out"),
    ("proxy_set_tick_period_milliseconds", "=20"),
];

/// The same of those with one packed argument: `=1` is a u32, `#1` a u64, `.1` a byte.
const PACKED: &[(&str, &str)] = &[
    ("forebay_dict_get", "'tried 'a"),
    ("forebay_dict_cas", "'tried 'a 'x =1 .0"),
    ("forebay_dict_add", "'tried 'new 'x .0"),
    ("forebay_dict_delete", "'tried 'a"),
    ("forebay_kv_get", "'sessions 'key"),
    ("forebay_kv_delete", "'sessions 'key"),
    ("forebay_kv_incr", "'sessions 'key #1 .0"),
    ("forebay_trace_span", "'work"),
    ("forebay_trace_finish", "=1"),
    ("forebay_lease_release", "=7"),
    ("forebay_dict_incr", "'tried 'a #1 #0 .1 #1000"),
    ("forebay_http_call_all", "=0"),
    ("forebay_kv_eval", "'sessions 'script =1 'key =2 'x 'y"),
    ("forebay_limit_take", "'calls 'key =1"),
    ("forebay_tokens_reserve", "'calls 'key =1"),
    ("forebay_log", "=2 'message =2 'a .1 'x 'b .3 .1"),
    ("forebay_metric_define", "=0 'm =1 'a 'b"),
    ("forebay_origin_set_pool", "'web"),
    ("forebay_origin_set_host", "'127.0.0.1:80"),
    ("forebay_origin_exclude", "'127.0.0.1:80"),
    ("forebay_origin_get", ""),
    ("forebay_origin_stats", ".1 'web"),
    ("forebay_kv_set", "'sessions 'key 'value .1 #1000"),
    ("forebay_queue_push", "'jobs 'item"),
    ("forebay_queue_pop", "'jobs"),
    ("forebay_trace_set", "=1 'key .1 'value"),
    ("forebay_dict_set", "'tried 'a .1 'x .0 .1 =1"),
    ("forebay_lease_commit", "=7 =1"),
    ("forebay_scale_hint", "'web 'rate #0 .1 #1000 #0"),
    ("forebay_scale_view", ""),
    ("forebay_scale_propose", "#0 'why"),
    ("forebay_secret_mark", "'key"),
    ("forebay_secret_hmac", "'key 'sha256 'data"),
];

/// The headers of a request, in proxy-wasm's form.
fn map() -> Vec<u8> {
    let pairs = [(":method", "GET"), (":path", "/"), (":authority", "a")];
    let mut map = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        map.extend([(name.len() as u32).to_le_bytes(), (value.len() as u32).to_le_bytes()].concat());
    }
    pairs.iter().for_each(|(name, value)| map.extend(format!("{name}\0{value}\0").as_bytes()));
    map
}

fn pack(items: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    for item in items.split_whitespace() {
        let (kind, rest) = item.split_at(1);
        match kind {
            "'" => packed.extend([&(rest.len() as u32).to_le_bytes(), rest.as_bytes()].concat()),
            "=" => packed.extend(rest.parse::<u32>().unwrap().to_le_bytes()),
            "#" => packed.extend(rest.parse::<u64>().unwrap().to_le_bytes()),
            _ => packed.push(rest.parse().unwrap()),
        }
    }
    packed
}

/// Writes scripts. What was let through once is the next time changed in a place or two: what is behind
/// the first checks is reached too.
pub struct Writer<'a> {
    imports: &'a [Import],
    random: fastrand::Rng,
    names: Vec<Vec<u8>>,
    kept: Vec<Vec<Vec<u64>>>,
    /// The memory and the texts in it, by address and length. The same for all calls: arguments that are kept
    /// point to it.
    image: Vec<u8>,
    texts: Vec<[u64; 2]>,
}

impl<'a> Writer<'a> {
    pub fn new(seed: u64, imports: &'a [Import]) -> Writer<'a> {
        let names =
            imports.iter().map(|import| import.name.clone().into_bytes()).filter(|name| name.starts_with(b"forebay_"));
        let names = names.collect();
        let kept = imports.iter().map(|_| Vec::new()).collect();
        let random = fastrand::Rng::with_seed(seed);
        let mut writer = Writer { imports, random, names, kept, image: Vec::new(), texts: Vec::new() };
        writer.draw_image();
        writer
    }

    /// Texts that mean something, forms that are right and forms that lie.
    fn draw_texts(&mut self) -> Vec<Vec<u8>> {
        let words: [&[u8]; 14] = [
            b"a",
            b"authz",
            b"jobs",
            b"vm",
            b"calls",
            b"tried",
            b"request\0path",
            b"plugin_name",
            b":path",
            b"\xff\xfe",
            b"127.0.0.1:80",
            b"",
            b"GET",
            b"sleep",
        ];
        let mut all: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        all.extend(self.names.iter().cloned());
        let good = map();
        for _ in 0..4 {
            let mut bad = good.clone();
            let at = self.random.usize(..28);
            bad[at] = self.random.u8(..);
            all.push(bad);
        }
        all.push(good);
        for _ in 0..60 {
            all.push(self.packed());
        }
        all.push((0..self.random.usize(..4000)).map(|_| self.random.u8(..)).collect());
        all
    }

    /// Packed arguments: a few items one after another.
    fn packed(&mut self) -> Vec<u8> {
        let mut packed = Vec::new();
        for _ in 0..self.random.usize(1..7) {
            match self.random.u8(..8) {
                0..4 => {
                    let word: &[u8] =
                        self.random.choice([&b"a"[..], b"tried", b"jobs", b"calls", b"authz", b"1", b""]).unwrap();
                    packed.extend((word.len() as u32).to_le_bytes());
                    packed.extend(word);
                }
                4 => packed.extend(self.random.u32(..4).to_le_bytes()),
                5 => packed.extend(self.random.choice([0, 1, u64::MAX, 1 << 63]).unwrap().to_le_bytes()),
                6 => packed.push(self.random.u8(..3)),
                _ => packed.extend(self.edge().to_le_bytes()),
            }
        }
        packed
    }

    fn edge(&mut self) -> u32 {
        let memory = MEMORY as u32;
        let edges = [0, 1, 2, 3, 4, 7, 8, 16, 255, 65535, 1 << 20, 1 << 31, u32::MAX, u32::MAX - 3, i32::MAX as u32];
        let sizes =
            [memory, memory - 1, memory - 3, memory - 4, memory - 8, memory - 9, memory + 1, memory - BLOCKS as u32];
        match self.random.u8(..3) {
            0 => self.random.choice(edges).unwrap(),
            1 => self.random.choice(sizes).unwrap(),
            _ => self.random.u32(..),
        }
    }

    /// The memory, with all texts in it, and the calls that point to them.
    fn draw_image(&mut self) {
        let texts = self.draw_texts();
        self.image = vec![0; MEMORY];
        for byte in &mut self.image[TEXTS..] {
            *byte = self.random.u8(..);
        }
        let mut end = TEXTS;
        for text in texts {
            self.put(&mut end, &text);
        }
        for (name, call) in CALLS {
            let mut arguments = Vec::new();
            for argument in call.split(' ') {
                match (argument.split_at(1), argument) {
                    (_, "map") => arguments.extend(self.put(&mut end, &map())),
                    (_, "out") => arguments.push(self.random.u64(FREE as u64..BLOCKS as u64)),
                    (("'", text), _) => arguments.extend(self.put(&mut end, text.as_bytes())),
                    ((_, number), _) => arguments.push(number.parse().unwrap()),
                }
            }
            self.know(name, arguments);
        }
        for (name, packed) in PACKED {
            let mut arguments = self.put(&mut end, &pack(packed)).to_vec();
            arguments.extend([FREE as u64, FREE as u64 + 4]);
            self.know(name, arguments);
        }
        assert!(end < FREE, "the texts end at {end}");
    }

    fn know(&mut self, name: &str, arguments: Vec<u64>) {
        let mut known = false;
        for (import, kept) in self.imports.iter().zip(&mut self.kept).filter(|(import, _)| import.name == name) {
            assert_eq!(arguments.len(), import.longs.len(), "{name}");
            kept.push(arguments.clone());
            known = true;
        }
        assert!(known, "{name} is no import");
    }

    /// Puts a text into the memory behind the others: its address and length.
    fn put(&mut self, end: &mut usize, text: &[u8]) -> [u64; 2] {
        self.image[*end..*end + text.len()].copy_from_slice(text);
        let place = [*end as u64, text.len() as u64];
        self.texts.push(place);
        *end += text.len() + self.random.usize(..4);
        place
    }

    pub fn script(&mut self, place: usize, index: usize) -> Script {
        let mut arguments = self.arguments(&self.imports[index].longs);
        if !self.kept[index].is_empty() && self.random.u8(..4) > 0 {
            let changed = std::mem::replace(&mut arguments, self.random.choice(&self.kept[index]).unwrap().clone());
            for _ in 0..self.random.usize(..3).min(changed.len()) {
                let which = self.random.usize(..changed.len());
                arguments[which] = changed[which];
            }
        }
        let honest = self.random.u8(..8) > 0;
        let lie = self.edge();
        let mut image = self.image.clone();
        let mut put = |at: usize, number: u64| image[at..at + 8].copy_from_slice(&number.to_le_bytes());
        put(HOW, if honest { 1 } else { 2 } | u64::from(lie) << 32);
        put(INDEX, index as u64 | (place as u64) << 32);
        for (i, argument) in arguments.iter().enumerate() {
            put(ARGUMENTS + 8 * i, *argument);
        }
        Script { image: image.split_off(8), arguments, honest }
    }

    fn arguments(&mut self, longs: &[bool]) -> Vec<u64> {
        let mut arguments = Vec::new();
        while arguments.len() < longs.len() {
            let long = longs[arguments.len()];
            let last = arguments.last().copied().unwrap_or(0);
            let mut random = || self.random.u8(..10);
            match random() {
                _ if long => {
                    let edge = self.edge();
                    arguments.push(self.random.choice([0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, edge.into()]).unwrap());
                }
                0..4 if longs.get(arguments.len() + 1) == Some(&false) => {
                    let [at, len] = self.random.choice(&self.texts).copied().unwrap();
                    arguments.extend([at, if self.random.u8(..8) == 0 { self.edge().into() } else { len }]);
                }
                0..6 => arguments.push(self.random.u64(FREE as u64..BLOCKS as u64)),
                6..8 => arguments.push(self.random.u64(..8)),
                // Overlaps what stands before it.
                8 => arguments.push(u64::from((last as u32).wrapping_add(self.random.u32(..8)).wrapping_sub(4))),
                _ => arguments.push(self.edge().into()),
            }
        }
        arguments
    }

    pub fn keep(&mut self, index: usize, script: &Script) {
        let kept = &mut self.kept[index];
        if kept.len() < 16 {
            kept.push(script.arguments.clone());
        }
    }
}
