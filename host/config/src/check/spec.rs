//! `spec.yaml`.

mod scale;

use std::time::Duration;

use crate::error::{Errors, Place, Problem};
use crate::raw::form::{Pairs, Text};
use crate::raw::route::Headers;
use crate::raw::spec as raw;
use crate::raw::spec_grpc as raw_grpc;
use crate::raw::spec_scale::Autoscale;
use crate::raw::value::{At, List};
use crate::spec::{
    Answer, Answered, Asked, Callout, Case, Data, Expect, Fault, Grpc, GrpcAnswer, Line, Request, Response, Step,
};

pub fn cases(raw: &List<raw::Case>, errors: &mut Errors) -> Option<Vec<Case>> {
    let mut names = std::collections::BTreeMap::new();
    for case in raw.iter() {
        let Some(name) = &case.name else { continue };
        if let Some(first) = names.insert(name.0.clone(), name.place.line) {
            let problem = Problem::found(format!("a second case of this name; the first is on line {first}"));
            errors.add(&name.place, problem.allowed("allowed: each name once"));
        }
    }
    if raw.is_empty() && raw.complete {
        let problem = Problem::found("no case").allowed("needed: a list of cases, each with its name");
        errors.add(&Place::root().at(1, 1), problem);
    }
    raw.iter().map(|case| self::case(case, errors)).collect()
}

fn case(raw: &raw::Case, errors: &mut Errors) -> Option<Case> {
    let asked = raw.request.is_some() || raw.autoscale.is_some();
    let alone = asked || raw.origin.is_some() || raw.expect.is_some() || !raw.callouts.is_empty();
    if alone && !raw.steps.is_empty() {
        let problem =
            Problem::found("\"steps\" stand beside \"request\", \"autoscale\", \"origin\", \"callouts\" or \"expect\"");
        errors.add(&raw.place, problem.allowed("allowed: these in each step, or without steps"));
    }
    let steps = if raw.steps.is_empty() {
        vec![step(Duration::ZERO, (&raw.request, &raw.autoscale), &raw.origin, &raw.callouts, &raw.expect, errors)?]
    } else {
        let step =
            |s: &At<raw::Step>| step(s.after.0, (&s.request, &s.autoscale), &s.origin, &s.callouts, &s.expect, errors);
        raw.steps.iter().map(step).collect::<Option<_>>()?
    };
    if let Some(region) = &raw.region
        && !region.0.starts_with('{')
    {
        errors.add(&region.place, Problem::found("not a map").allowed("allowed: sections of a region file by name"));
    }
    Some(Case {
        name: raw.name.as_ref()?.0.clone(),
        line: raw.place.line,
        config: raw.config.as_ref().map(|config| config.0.clone()),
        vm_config: raw.vm_config.as_ref().map(|config| config.0.clone()),
        capabilities: raw.capabilities.as_ref().map(|list| list.iter().map(|c| c.value.0.clone()).collect()),
        limits: raw.limits.as_ref().map(|limits| limits.json.clone()),
        on_fault: raw.on_fault.as_ref().map(|policy| policy.value),
        region: raw.region.as_ref().map(|region| region.0.clone()),
        time: Duration::from_secs_f64(raw.time.0),
        dict: data(&raw.dict, |text| text.0.clone()),
        kv: data(&raw.kv, |text| text.0.clone()),
        steps,
    })
}

fn data<T, U>(raw: &Option<At<Pairs<Pairs<T>>>>, meant: impl Fn(&T) -> U) -> Data<U> {
    let Some(raw) = raw else { return Vec::new() };
    let keys = |keys: &Pairs<T>| keys.0.iter().map(|(key, value)| (key.clone(), meant(&value.value))).collect();
    raw.value.0.iter().map(|(store, held)| (store.clone(), keys(&held.value))).collect()
}

fn step(
    after: Duration,
    (request, autoscale): (&Option<At<raw::Request>>, &Option<At<Autoscale>>),
    origin: &Option<At<raw::Origin>>,
    callouts: &List<raw::Callout>,
    expect: &Option<At<raw::Expect>>,
    errors: &mut Errors,
) -> Option<Step> {
    let request = request.as_ref().map(|request| self::request(request, errors));
    let nobody = request.is_none();
    if let Some(autoscale) = autoscale.as_ref().filter(|_| !nobody) {
        let problem = Problem::found("\"autoscale\" stands beside \"request\"");
        errors.add(&autoscale.place, problem.allowed("allowed: one of them, or each in a step of its own"));
    }
    let step = Step {
        after,
        request,
        autoscale: autoscale.as_ref().map(|asked| scale::view(asked)),
        origin: origin.as_ref().map_or_else(Response::default, |origin| response(origin, errors)),
        callouts: callouts.iter().map(|c| callout(c, errors)).collect::<Option<_>>()?,
        expect: expect.as_ref().map(|expect| self::expect(expect)).unwrap_or_default(),
    };
    if let Some(expect) = expect
        && nobody
        && (step.expect.request.is_some() || step.expect.response.is_some() || step.expect.closed)
    {
        let problem = Problem::found("a request or a response is expected, and there is no request");
        errors.add(&expect.place, problem.allowed("needed: \"request\""));
    }
    if let Some(expect) = expect
        && autoscale.is_none()
        && step.expect.proposal.is_some()
    {
        let problem = Problem::found("a proposal is expected, and nobody asks for one");
        errors.add(&expect.place, problem.allowed("needed: \"autoscale\""));
    }
    Some(step)
}

fn headers(raw: &Option<At<Headers>>) -> Vec<(String, String)> {
    raw.as_ref().map(|headers| headers.value.0.clone()).unwrap_or_default()
}

fn body(
    whole: Option<(&str, &Place)>,
    chunks: &List<Text>,
    trailers: &Option<At<Headers>>,
    errors: &mut Errors,
) -> Vec<String> {
    if let Some((_, place)) = whole
        && !chunks.is_empty()
    {
        errors.add(place, Problem::found("\"body\" stands beside \"chunks\"").allowed("allowed: one of them"));
    }
    if let Some(trailers) = trailers
        && chunks.is_empty()
    {
        let problem = Problem::found("trailers of a body that is not in chunks");
        errors.add(&trailers.place, problem.allowed("needed: \"chunks\""));
    }
    match whole {
        Some((body, _)) => vec![body.to_owned()],
        None => chunks.iter().map(|chunk| chunk.value.0.clone()).collect(),
    }
}

fn request(raw: &raw::Request, errors: &mut Errors) -> Request {
    let whole = raw.body.as_ref().map(|body| (body.0.as_str(), &body.place));
    let body = body(whole, &raw.chunks, &raw.trailers, errors);
    let method = raw.method.as_ref().map(|method| method.0.clone());
    Request {
        method: method.unwrap_or_else(|| if body.is_empty() { "GET" } else { "POST" }.to_owned()),
        path: raw.path.0.clone(),
        host: raw.host.0.clone(),
        headers: headers(&raw.headers),
        body,
        trailers: headers(&raw.trailers),
    }
}

fn response(raw: &raw::Origin, errors: &mut Errors) -> Response {
    let whole = raw.body.as_ref().map(|body| (body.0.as_str(), &body.place));
    if raw.status.0 < 200 {
        let problem = Problem::found(format!("found {}", raw.status.0));
        errors.add(&raw.status.place, problem.allowed("allowed: a final status, from 200 to 599"));
    }
    Response {
        status: raw.status.0,
        headers: headers(&raw.headers),
        body: body(whole, &raw.chunks, &raw.trailers, errors),
        trailers: headers(&raw.trailers),
        delay: raw.delay.0,
        error: raw.error.as_ref().map(|error| error.value),
    }
}

fn callout(raw: &raw::Callout, errors: &mut Errors) -> Option<Callout> {
    let mut response = raw.response.as_ref().map_or_else(Response::default, |r| self::response(r, errors));
    response.error = raw.error.as_ref().map(|error| error.value).or(response.error);
    response.delay = raw.delay.as_ref().map_or(response.delay, |delay| delay.0);
    if raw.grpc.is_some() && (raw.request.is_some() || raw.response.is_some()) {
        let problem = Problem::found("\"grpc\" stands beside \"request\" or \"response\"");
        errors.add(&raw.place, problem.allowed("allowed: \"grpc\" with its \"answer\", or the two of HTTP"));
    }
    Some(Callout {
        target: raw.target.as_ref()?.0.clone(),
        grpc: raw.grpc.as_ref().map(|grpc| self::grpc(grpc, errors)),
        line: raw.place.line,
        request: raw.request.as_ref().map(|asked| self::asked(asked)).unwrap_or_default(),
        response,
        times: raw.times.0,
        optional: raw.optional.value,
    })
}

fn grpc(raw: &At<raw_grpc::Grpc>, errors: &mut Errors) -> Grpc {
    let text = |text: &Option<At<Text>>| text.as_ref().map(|text| text.0.clone());
    let mut both = |one: &Option<Place>, more: bool| {
        if let Some(place) = one.as_ref().filter(|_| more) {
            let problem = Problem::found("\"message\" stands beside \"messages\"");
            errors.add(place, problem.allowed("allowed: one of them"));
        }
    };
    both(&raw.message.as_ref().map(|message| message.place.clone()), raw.messages.is_some());
    let one = raw.message.as_ref().map(|message| vec![message.value.0.clone()]);
    let several = raw.messages.as_ref().map(|list| list.iter().map(|message| message.value.0.clone()).collect());
    let answer = raw.answer.as_ref().map(|answer| {
        both(&answer.message.as_ref().map(|message| message.place.clone()), !answer.messages.is_empty());
        let status = answer.status.0;
        let messages: Vec<_> = match &answer.message {
            Some(message) => vec![message.value.0.clone()],
            None if answer.messages.is_empty() && status == 0 => vec![Vec::new()],
            None => answer.messages.iter().map(|message| message.value.0.clone()).collect(),
        };
        let (metadata, trailers) = (headers(&answer.metadata), headers(&answer.trailers));
        GrpcAnswer { metadata, messages, trailers, status, text: text(&answer.text).unwrap_or_default() }
    });
    Grpc {
        service: text(&raw.service),
        method: text(&raw.method),
        metadata: wanted(&raw.metadata),
        messages: one.or(several),
        answer: answer.unwrap_or_else(|| GrpcAnswer { messages: vec![Vec::new()], ..GrpcAnswer::default() }),
    }
}

fn wanted(raw: &Option<At<Pairs<raw::Wanted>>>) -> Vec<(String, Answer)> {
    let pairs = raw.iter().flat_map(|pairs| &pairs.value.0);
    pairs.map(|(name, wanted)| (name.to_ascii_lowercase(), wanted.value.0.clone())).collect()
}

fn asked(raw: &raw::Asked) -> Asked {
    Asked {
        method: raw.method.as_ref().map(|method| method.0.clone()),
        path: raw.path.as_ref().map(|path| path.0.clone()),
        headers: wanted(&raw.headers),
        body: raw.body.as_ref().map(|body| body.0.clone()),
        trailers: wanted(&raw.trailers),
    }
}

fn expect(raw: &raw::Expect) -> Expect {
    let text = |text: &Option<At<Text>>| text.as_ref().map(|text| text.0.clone());
    let metrics = raw.metrics.iter().flat_map(|metrics| &metrics.value.0);
    Expect {
        request: raw.request.as_ref().map(|asked| self::asked(asked)),
        reaches_origin: raw.reaches_origin.as_ref().map(|reaches| reaches.value),
        response: raw.response.as_ref().map(|answered| Answered {
            status: answered.status.as_ref().map(|status| status.0),
            headers: wanted(&answered.headers),
            body: answered.body.as_ref().map(|body| body.0.clone()),
            trailers: wanted(&answered.trailers),
        }),
        closed: raw.closed.value,
        proposal: raw.proposal.as_ref().map(|wanted| scale::wanted(wanted)),
        logs: raw
            .logs
            .iter()
            .map(|line| Line {
                level: line.0.level.as_ref().map(|level| level.value),
                contains: text(&line.0.contains).unwrap_or_default(),
            })
            .collect(),
        no_logs: raw.no_logs.iter().map(|text| text.value.0.clone()).collect(),
        metrics: metrics.map(|(name, amount)| (name.clone(), amount.value.0)).collect(),
        fault: raw.fault.as_ref().and_then(|fault| {
            Some(Fault {
                verdict: fault.0.verdict.as_ref()?.value.0.clone(),
                callback: text(&fault.0.callback),
                contains: text(&fault.0.contains),
            })
        }),
        dict: data(&raw.dict, |wanted| wanted.0.clone()),
        kv: data(&raw.kv, |wanted| wanted.0.clone()),
        took: raw.took.as_ref().map(|took| took.0),
    }
}
