//! Spans: what a plugin measures of an exchange, told as lines of the log under W3C's trace ids. The
//! trace is the one that the request belongs to (`traceparent`), or one that the first span begins;
//! it is passed on to the origin and to callouts.

use std::cell::{Cell, RefCell};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use abi::{Answer, Field, MAX_FIELDS, Refusal, SpanId, Status};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::line;
use super::seat::{Home, Seat};
use crate::clock;

/// Where spans go.
const TARGET: &str = "forebay::trace";
pub const PARENT: HeaderName = HeaderName::from_static("traceparent");
pub const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Spans of one plugin that are open at once, in one exchange.
const MOST_OPEN: usize = 32;
/// Bytes of a span's name.
const LONGEST_NAME: usize = 128;

/// The trace that an exchange belongs to.
#[derive(Default)]
pub struct Trace {
    known: Cell<Option<Known>>,
    /// The open spans of all plugins, the innermost last.
    open: RefCell<Vec<u64>>,
}

#[derive(Clone, Copy)]
struct Known {
    id: u128,
    /// Who called us, if the request said so; else the first span.
    above: u64,
    taken_up: bool,
    flags: u8,
}

/// What is being measured.
struct Span {
    id: SpanId,
    number: u64,
    parent: Option<u64>,
    name: String,
    began: Instant,
    began_at: SystemTime,
    fields: Vec<(String, Field)>,
}

/// The open spans of one seat.
#[derive(Default)]
pub struct Spans {
    list: RefCell<Vec<Span>>,
    last: Cell<u32>,
}

impl Trace {
    /// A new span's parent. The first call of an exchange takes the request's trace up, or begins one.
    fn begin(&self, headers: Option<&HeaderMap>, number: u64) -> Option<u64> {
        let known = self.known.get().unwrap_or_else(|| {
            let taken = headers.and_then(parse);
            taken.unwrap_or(Known { id: fastrand::u128(1..), above: number, taken_up: false, flags: 1 })
        });
        self.known.set(Some(known));
        let mut open = self.open.borrow_mut();
        let parent = open.last().copied().or((known.above != number).then_some(known.above));
        open.push(number);
        parent
    }

    fn end(&self, number: u64) {
        self.open.borrow_mut().retain(|open| *open != number);
    }

    /// What a message that is sent now carries; `None` while no span has begun.
    fn header(&self) -> Option<HeaderValue> {
        let known = self.known.get()?;
        let parent = self.open.borrow().last().copied().unwrap_or(known.above);
        let text = format!("00-{:032x}-{parent:016x}-{:02x}", known.id, known.flags);
        HeaderValue::from_str(&text).ok()
    }

    /// Puts it into the request for the origin, unless a plugin has written another there.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        let ours = self.known.get().is_some_and(|known| match parse(headers) {
            Some(there) => known.taken_up && there.id == known.id && there.above == known.above,
            None => true,
        });
        if let Some(value) = self.header().filter(|_| ours) {
            headers.insert(PARENT, value);
        }
    }
}

/// `00-<trace>-<parent>-<flags>`, in lower case; what is not that is as if it were not there, as W3C
/// has it. Later versions may have more behind it.
fn parse(headers: &HeaderMap) -> Option<Known> {
    let mut all = headers.get_all(PARENT).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let text = value.to_str().ok()?;
    let (text, more) = text.split_at_checked(55)?;
    let parts: Vec<&str> = text.split('-').collect();
    let [version, id, parent, flags] = parts[..] else { return None };
    let lengths = [version, id, parent, flags].map(str::len);
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let more_is_right = if version == "00" { more.is_empty() } else { more.is_empty() || more.starts_with('-') };
    if lengths != [2, 32, 16, 2] || !parts.iter().all(|part| digits(part)) || version == "ff" || !more_is_right {
        return None;
    }
    let (id, above) = (u128::from_str_radix(id, 16).ok()?, u64::from_str_radix(parent, 16).ok()?);
    let flags = u8::from_str_radix(flags, 16).ok()? & 1;
    (id != 0 && above != 0).then_some(Known { id, above, taken_up: true, flags })
}

impl Seat {
    /// The trace of the exchange, or in the plugin context one of its own.
    fn trace(&self) -> &Trace {
        match &self.home {
            Home::Exchange { exchange, .. } => &exchange.trace,
            Home::Plugin { .. } => &self.trace,
        }
    }

    pub(super) fn begin_span(&self, name: &str) -> Answer<SpanId> {
        if !(1..=LONGEST_NAME).contains(&name.len()) {
            let text = format!("trace.span: a name of {} bytes (allowed: 1 to {LONGEST_NAME})", name.len());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        let mut list = self.spans.list.borrow_mut();
        if list.len() >= MOST_OPEN {
            let text = format!("trace.span: {MOST_OPEN} spans are open already");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        let number = fastrand::u64(1..);
        let parent = match &self.home {
            Home::Exchange { exchange, .. } => exchange.trace.begin(Some(&exchange.request.borrow().headers), number),
            Home::Plugin { .. } => self.trace.begin(None, number),
        };
        self.spans.last.set(self.spans.last.get().wrapping_add(1));
        let id = SpanId(self.spans.last.get());
        let (began, began_at) = (clock::now(), clock::wall());
        list.push(Span { id, number, parent, name: name.to_owned(), began, began_at, fields: Vec::new() });
        Ok(id)
    }

    pub(super) fn set_in_span(&self, id: SpanId, key: &str, value: Field) -> Answer<()> {
        let mut list = self.spans.list.borrow_mut();
        let span = list.iter_mut().find(|span| span.id == id).ok_or_else(ended)?;
        let (key, value) = line::kept(key, value);
        if let Some(field) = span.fields.iter_mut().find(|(known, _)| *known == key) {
            field.1 = value;
        } else if span.fields.len() < MAX_FIELDS {
            span.fields.push((key, value));
        } else {
            let text = format!("span:set: the span has its {MAX_FIELDS} fields already");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        Ok(())
    }

    pub(super) fn end_span(&self, id: SpanId) -> Answer<()> {
        let mut list = self.spans.list.borrow_mut();
        let at = list.iter().position(|span| span.id == id).ok_or_else(ended)?;
        let span = list.remove(at);
        drop(list);
        self.tell_span(&span, true);
        Ok(())
    }

    /// The exchange has ended: so have its spans.
    pub fn end_spans(&self) {
        let open = std::mem::take(&mut *self.spans.list.borrow_mut());
        open.iter().rev().for_each(|span| self.tell_span(span, false));
    }

    fn tell_span(&self, span: &Span, finished: bool) {
        let trace = self.trace();
        trace.end(span.number);
        let Some(known) = trace.known.get() else { return };
        if matches!(self.home, Home::Plugin { .. }) && trace.open.borrow().is_empty() {
            // The next one in the background is about something else.
            trace.known.set(None);
        }
        if known.flags & 1 == 0 || !self.may_log() {
            return;
        }
        let (trace_id, span_id) = (format!("{:032x}", known.id), format!("{:016x}", span.number));
        let parent_id = span.parent.map(|parent| format!("{parent:016x}"));
        let duration_ms = clock::now().saturating_duration_since(span.began).as_secs_f64() * 1e3;
        let start = span.began_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let fields: Vec<_> = span.fields.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let fields = (!fields.is_empty()).then(|| line::object(&fields).to_string());
        let request_id = match &self.home {
            Home::Exchange { exchange, .. } => &*exchange.id,
            Home::Plugin { .. } => "",
        };
        tracing::info!(
            target: TARGET, plugin = &*self.bound.settings.plugin, request_id, trace_id, span_id,
            parent_id = parent_id.as_deref(), start, duration_ms, finished, fields = fields.as_deref(), "{}", span.name
        );
    }

    /// The headers that a callout belongs to the trace by, unless the plugin has given its own.
    pub(super) fn trace_callout(&self, headers: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        let has = |name: &HeaderName| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_ref()));
        if has(&PARENT) {
            return;
        }
        let mut add = |name: HeaderName, value: &HeaderValue| {
            headers.push((name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()));
        };
        let Home::Exchange { exchange, .. } = &self.home else {
            if let Some(value) = self.trace.header() {
                add(PARENT, &value);
            }
            return;
        };
        let request = exchange.request.borrow();
        let value = exchange.trace.header().or_else(|| {
            // No span has begun: what the request has stands for the callout too.
            parse(&request.headers)?;
            request.headers.get(PARENT).cloned()
        });
        let Some(value) = value else { return };
        add(PARENT, &value);
        if exchange.trace.known.get().is_none_or(|known| known.taken_up) {
            request.headers.get_all(STATE).iter().for_each(|state| add(STATE, state));
        }
    }
}

fn ended() -> Refusal {
    Refusal::new(Status::NotFound, "the span has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (PARENT, HeaderValue::from_str(value).unwrap())).collect()
    }

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_is_taken_up_from_a_header_that_is_right() {
        let good = format!("00-{ID}-00f067aa0ba902b7-01");
        let known = parse(&headers(&[&good])).unwrap();
        assert_eq!((format!("{:032x}", known.id), known.above, known.flags), (ID.to_owned(), 0x00f0_67aa_0ba9_02b7, 1));
        assert!(parse(&headers(&[&format!("cc-{ID}-00f067aa0ba902b7-01-what-comes")])).is_some(), "a later version");
        let zero = "0".repeat(32);
        for bad in [
            "",
            "00",
            &good[..54],
            &format!("{good}-more"),
            &format!("{good}x"),
            &good.to_uppercase(),
            &format!("ff-{ID}-00f067aa0ba902b7-01"),
            &format!("00-{zero}-00f067aa0ba902b7-01"),
            &format!("00-{ID}-0000000000000000-01"),
            &format!("00-{ID}-00f067aa0ba902bx-01"),
            &format!("00_{ID}-00f067aa0ba902b7-01"),
        ] {
            assert!(parse(&headers(&[bad])).is_none(), "{bad}");
        }
        assert!(parse(&headers(&[&good, &good])).is_none(), "two of them say nothing");
    }

    #[test]
    fn what_is_sent_carries_the_innermost_span() {
        let trace = Trace::default();
        let mut request = headers(&[&format!("00-{ID}-00f067aa0ba902b7-01")]);
        assert!(trace.header().is_none());
        assert_eq!(trace.begin(Some(&request), 17), Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(trace.begin(Some(&request), 18), Some(17));
        assert_eq!(trace.header().unwrap(), format!("00-{ID}-0000000000000012-01").as_str());
        trace.end(18);
        trace.pass_on(&mut request);
        assert_eq!(request[PARENT], format!("00-{ID}-0000000000000011-01").as_str());
        trace.end(17);
        assert_eq!(trace.header().unwrap(), format!("00-{ID}-00f067aa0ba902b7-01").as_str());
    }

    #[test]
    fn a_trace_that_a_plugin_wrote_itself_is_left_to_it() {
        let trace = Trace::default();
        trace.begin(None, 17);
        let mut request = headers(&[&format!("00-{ID}-00f067aa0ba902b7-01")]);
        trace.pass_on(&mut request);
        assert_eq!(request[PARENT], format!("00-{ID}-00f067aa0ba902b7-01").as_str());
        let mut request = HeaderMap::new();
        trace.pass_on(&mut request);
        assert!(request[PARENT].to_str().unwrap().ends_with("-0000000000000011-01"));
    }
}
