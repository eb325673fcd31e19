//! The section `pools`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::budget::RouteBudget;
use super::form::{
    Address, Count, FilePath, Ip, Name, Period, Positive, Ratio, Span, Status, Text, Tolerance, UrlPath,
};
use super::lead::Lead;
use super::plugin::{Freeform, RouteLimits};
use super::scaling_budget::ScalingBudget;
use super::schedule::Schedule;
use super::signal::{Signal, Source};
use super::steps::Steps;
use super::value::{At, List, Value, keys};
use super::warm_pool::WarmPool;
use crate::error::{Errors, Problem};
use crate::node::{Kind, Node};
use crate::region;
use crate::region::{Balance, HintKind, PoolTimeouts, ScalingMode};

keys! {
    /// Origins that serve the same: listed, or run by the aggregator, or both.
    pub struct Pool {
        /// A name, unique in the file; routes use it.
        required name: Name,
        /// Listed origins.
        list origins: Address,
        /// How an origin is picked.
        default balance: Balance = Balance::default(),
        /// Speak HTTP/2 with prior knowledge to origins.
        default http2: bool = region::Pool::HTTP2,
        /// How long origins may take.
        section timeouts: Timeouts,
        /// Idle connections kept per worker and origin.
        default idle_connections: Count = region::Pool::IDLE_CONNECTIONS,
        /// A GET from each edge that tells healthy origins from others. Default: none is sent.
        optional health: Health,
        /// Real requests to a new origin before it takes traffic. Default: none are sent.
        optional warmup: Warmup,
        /// A new origin's share of traffic grows from a tenth to the whole over this time.
        default slow_start: Span = region::Pool::SLOW_START,
        /// How many origins there should be. Default: those that are listed.
        optional scaling: Scaling,
    }
}

keys! {
    /// How long origins may take.
    pub struct Timeouts {
        /// To connect.
        default connect: Period = PoolTimeouts::default().connect,
        /// From the request sent to the response headers.
        default response: Period = PoolTimeouts::default().response,
        /// Between two chunks of a response body.
        default body: Period = PoolTimeouts::default().body,
        /// How long an idle connection is kept.
        default idle: Period = PoolTimeouts::default().idle,
    }
}

keys! {
    /// A GET from each edge that tells healthy origins from others.
    pub struct Health {
        /// What is asked for.
        default path: UrlPath = region::HealthCheck::default().path.as_str(),
        /// How often.
        default interval: Period = region::HealthCheck::default().interval,
        /// How long an answer may take.
        default timeout: Period = region::HealthCheck::default().timeout,
        /// Successes in a row until healthy again.
        default healthy_after: Positive = region::HealthCheck::default().healthy_after,
        /// Failures in a row until unhealthy.
        default unhealthy_after: Positive = region::HealthCheck::default().unhealthy_after,
        /// Statuses that count as success.
        default statuses: List<Status> =
            region::HealthCheck::default().statuses.into_iter().map(Status).collect::<Vec<_>>(),
    }
}

keys! {
    /// Real requests that each edge sends to a new origin before it takes traffic.
    pub struct Warmup {
        /// What is asked for.
        default path: UrlPath = region::Warmup::default().path.as_str(),
        /// How many.
        default requests: Positive = region::Warmup::default().requests,
        /// An origin that is not warm by then takes traffic all the same.
        default timeout: Period = region::Warmup::default().timeout,
    }
}

keys! {
    /// How many origins there should be: the largest of what the rules propose, within bounds.
    pub struct Scaling {
        /// How far it may go by itself.
        default mode: ScalingMode = ScalingMode::default(),
        /// The fewest origins there may be.
        default floor: Count = region::Scaling::FLOOR,
        /// The most origins there may be.
        required ceiling: Positive,
        /// What the demand is measured by, where a rule does not say it. The one that asks for the most origins counts.
        list signals: Signal,
        /// As many as the load of the last moments needs. Default: no such rule.
        optional reactive: Reactive,
        /// As many as the demand of the coming lead will need, by what its past was like. Default: no such rule.
        optional predictive: Predictive,
        /// What a violating request is worth, and what a month may cost. Default: the price of `predictive`, and no bound.
        optional budget: ScalingBudget,
        /// Windows in which other numbers hold; of rules that contradict each other the more specific wins.
        list schedules: Schedule,
        /// Plugins that look at the pool in each tick and propose a count, with a reason; bounds and holds still
        /// apply. Default: none.
        list scripts: Script,
        /// From the decision to capacity that serves: boot, warm-up and slow start. Schedules without a lead of
        /// their own start this much early. Default: learned from the origins that are started.
        optional lead: Lead,
        /// Most origins added. Default: in one decision 10, or as many as there are if that is more.
        optional step_up: Steps,
        /// Most origins removed. Default: in one decision 2, or 5 % if that is more.
        optional step_down: Steps,
        /// A decrease by less than this part of the count stays undone; one origin never is less.
        default tolerance: Tolerance = region::Scaling::TOLERANCE,
        /// A decrease waits until no decision of this window wanted more.
        default stabilisation: Span = region::Scaling::STABILISATION,
        /// Origins that have booted and wait, to join without a boot. Default: none.
        optional warm_pool: WarmPool,
        /// What plugins may ask for. Default: nothing, each hint is refused.
        optional hints: Hints,
        /// What carries decisions out.
        required actuator: Actuator,
    }
}

impl Scaling {
    /// Whether the reactive rule knows what an origin carries in requests. What could not be read is taken for it.
    pub fn says_requests(&self) -> bool {
        let of_requests = |source: &Option<At<Source>>| source.as_ref().is_none_or(|at| at.value == Source::Requests);
        let signal = !self.signals.complete || self.signals.iter().any(|signal| of_requests(&signal.source));
        self.reactive.as_ref().is_some_and(|rule| rule.requests_per_origin.is_some() || signal)
    }
}

/// A policy plugin of a pool: its name, or its name with what differs there.
#[derive(Clone, Debug)]
pub struct Script(pub ScriptUse);

keys! {
    /// A policy plugin of a pool, with what differs there.
    pub struct ScriptUse {
        /// The name of one of `plugins`, which has a callback `autoscale`.
        required name: Text,
        /// Told to `on_configure`. Default: the plugin's.
        optional config: Freeform,
        /// What it may use here. Default: the plugin's.
        section limits: RouteLimits,
        /// How many faults disable it here. Default: the plugin's.
        section crash_budget: RouteBudget,
    }
}

impl Value for Script {
    fn read(node: &Node, errors: &mut Errors) -> Option<Script> {
        let Kind::Text(name) = &node.kind else { return ScriptUse::read(node, errors).map(Script) };
        let nothing = |key| Node { place: node.place.key(key), kind: Kind::Null };
        Some(Script(ScriptUse {
            place: node.place.clone(),
            name: Some(At { value: Text(name.clone()), place: node.place.clone() }),
            config: None,
            limits: RouteLimits::read(&nothing("limits"), errors)?,
            crash_budget: RouteBudget::read(&nothing("crash_budget"), errors)?,
        }))
    }
}

impl JsonSchema for Script {
    fn schema_name() -> Cow<'static, str> {
        "Script".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a policy plugin's name, or its name with what differs in this pool",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<ScriptUse>()],
        })
    }
}

keys! {
    /// As many origins as the load of the last moments needs.
    pub struct Reactive {
        /// Requests a second that one origin should carry. Default: it goes by `signals`.
        optional requests_per_origin: Ratio,
        /// Window of the mean that is compared with it.
        default window: Period = region::Reactive::WINDOW,
        /// Factor on demand (not on a latency): 1.2 keeps a fifth spare.
        default headroom: Ratio = region::Reactive::HEADROOM,
    }
}

keys! {
    /// As many origins as the demand of the coming lead will need, learned from its past.
    pub struct Predictive {
        /// Requests a second that one origin can carry: its capacity, without any spare. Default: it goes by `signals`.
        optional requests_per_origin: Ratio,
        /// What a violating request costs, in what serving one costs: higher keeps more spare. Default: 80.
        optional price: Ratio,
        /// It only says in each decision what it would have done.
        default shadow: bool = region::Predictive::SHADOW,
    }
}

keys! {
    /// What plugins may ask for, by `scale.hint`; it is weighed, and never binds.
    pub struct Hints {
        /// The kinds that count.
        required kinds: List<HintKind>,
        /// Most origins that hints add to what the other rules propose.
        required add: Count,
        /// A hint stands no longer than this, unless it is given again.
        default longest: Period = region::Hints::LONGEST,
        /// Hints a second of one plugin through one edge; past it they are refused.
        default per_second: Positive = region::Hints::PER_SECOND,
    }
}

/// What carries decisions out.
#[derive(Clone, Debug)]
pub enum Actuator {
    DryRun,
    Process(Box<Process>),
}

keys! {
    /// An actuator, given as a map.
    pub struct ActuatorMap {
        /// Starts and stops origin processes on the aggregator's machine.
        required process: Process,
    }
}

keys! {
    /// Starts and stops origin processes on the aggregator's machine.
    pub struct Process {
        /// Program and arguments; `{port}` in any of them becomes the origin's port.
        required command: List<Text>,
        /// Where origins listen, on a free port from the system for each.
        default host: Ip = region::ProcessActuator::HOST,
        /// GET here until 2xx ends the boot.
        default ready_path: UrlPath = region::ProcessActuator::READY_PATH,
        /// A process that is not ready by then is stopped and replaced.
        default boot_timeout: Period = region::ProcessActuator::BOOT_TIMEOUT,
        /// From SIGTERM to SIGKILL, after the edges have drained it.
        default stop_timeout: Period = region::ProcessActuator::STOP_TIMEOUT,
        /// A folder of small files that let a restarted aggregator find what runs.
        required state_dir: FilePath,
    }
}

impl Value for Actuator {
    fn read(node: &Node, errors: &mut Errors) -> Option<Actuator> {
        match &node.kind {
            Kind::Text(text) if text == "dry_run" => Some(Actuator::DryRun),
            Kind::Map(_) => Some(Actuator::Process(Box::new(ActuatorMap::read(node, errors)?.process?.value))),
            Kind::Text(text) if text == "process" => {
                let problem = Problem::found("found \"process\" without its command");
                errors.add(&node.place, problem.allowed("allowed: process: {command: […], state_dir: …}"));
                None
            }
            _ => {
                let word = if let Kind::Text(text) = &node.kind { text } else { "" };
                let found = format!("found {}", node.describe());
                errors.add(&node.place, Problem::none_of(found, "actuators are", word, ["dry_run", "process"]));
                None
            }
        }
    }
}

impl JsonSchema for Actuator {
    fn schema_name() -> Cow<'static, str> {
        "Actuator".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "what carries decisions out",
            "oneOf": [
                { "const": "dry_run", "description": "decisions are journalled and not carried out" },
                generator.subschema_for::<ActuatorMap>(),
            ],
        })
    }
}
