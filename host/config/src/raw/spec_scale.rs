//! A policy plugin in `spec.yaml`: what it is asked, and what it must propose.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::time::Duration;

use super::form::{Count, Period, Text};
use super::spec::{Wanted, any_schema};
use super::value::{At, Value, Written, keys};
use crate::error::{Errors, Problem};
use crate::node::{Kind, Node};
use crate::spec::scale::{Rule, Way};

keys! {
    /// What a policy sees of its pool when it is asked. What is not given is unknown, or as in a pool at rest: one origin
    /// that serves, one fresh edge.
    pub struct Autoscale {
        /// The pool's name.
        default pool: Text = "shop",
        /// Its origins, listed ones included.
        section origins: Origins,
        /// From a decision to capacity that serves.
        default lead: Period = Duration::from_secs(120),
        /// What the rates are means of.
        default window: Period = Duration::from_secs(10),
        /// Requests a second.
        optional requests_per_second: Figure,
        /// Of them, those that edges refused.
        optional rejects_per_second: Figure,
        /// Of them, those that failed.
        optional errors_per_second: Figure,
        /// Requests in flight at all edges.
        optional in_flight: Count,
        /// Edges that report the pool.
        section edges: Edges,
        /// What the pool's signals say, by name.
        optional signals: super::form::Pairs<Signal>,
        /// What the calendar holds.
        optional schedule: Schedule,
        /// The past in steps of 15 s, oldest first; the last one is the present step.
        list series: Seen,
        /// What the predictive rule foresees.
        optional forecast: Forecast,
        /// What the rules before the scripts propose.
        list proposals: Proposal,
    }
}

keys! {
    /// Origins of the pool.
    pub struct Origins {
        /// What was decided. Default: what boots, warms up and serves.
        optional desired: Count,
        /// The pool's floor.
        default floor: Count = 1u32,
        /// The pool's ceiling.
        default ceiling: Count = 100u32,
        /// Started, and not ready.
        default booting: Count = 0u32,
        /// Ready, and not in service.
        default warming: Count = 0u32,
        /// In service.
        default serving: Count = 1u32,
        /// Leaving.
        default draining: Count = 0u32,
        /// In the warm pool.
        default warm: Count = 0u32,
    }
}

keys! {
    /// Edges that report the pool.
    pub struct Edges {
        /// Heard of lately.
        default fresh: Count = 1u32,
        /// Silent.
        default missing: Count = 0u32,
    }
}

keys! {
    /// One of the pool's signals.
    pub struct Signal {
        /// As a region file spells it.
        default source: Text = "origin",
        /// Over all edges, in the units of the source; unknown if not given.
        optional value: Figure,
        /// What one origin carries of it.
        default per_origin: Figure = 1.0,
        /// What it asks for. Default: the value over what one origin carries.
        optional origins: Figure,
        /// Of the oldest sample that counts.
        default age: super::form::Span = Duration::ZERO,
        /// It may ask for more and not for fewer.
        default guard: bool = false,
        /// Why nothing is known, or what was made of the value.
        optional because: Text,
    }
}

keys! {
    /// What the calendar holds.
    pub struct Schedule {
        /// The floor.
        optional floor: Figure,
        /// The ceiling.
        optional ceiling: Figure,
        /// The target.
        optional target: Figure,
        /// The factor.
        optional multiply: Figure,
    }
}

keys! {
    /// One step of 15 s.
    pub struct Seen {
        /// Requests a second.
        default requests_per_second: Figure = 0.0,
        /// Of them, those that edges refused.
        default rejects_per_second: Figure = 0.0,
        /// Of them, those that failed.
        default errors_per_second: Figure = 0.0,
        /// What part of it was reported. At 0 nobody did, and a script does not see it.
        default covered: Figure = 1.0,
        /// Origins in service then. Default: as now.
        optional serving: Count,
    }
}

keys! {
    /// What the predictive rule foresees, in origins.
    pub struct Forecast {
        /// Of the last 30 s.
        required level: Figure,
        /// Upper bounds of the most within the horizon, the lowest first.
        list quantiles: Upper,
        /// How far it looks. Default: the lead and a minute.
        optional horizon: Period,
        /// Whether it is believed.
        default gate_open: bool = true,
        /// How it came about.
        default way: Way = Way::Tuned,
        /// How many rules share the decision.
        default rules: Count = 1u32,
    }
}

keys! {
    /// With this probability no more than so much comes.
    pub struct Upper {
        /// The probability, such as 0.9.
        required quantile: Figure,
        /// In origins.
        required demand: Figure,
    }
}

keys! {
    /// What another rule proposes.
    pub struct Proposal {
        /// Which policy.
        required source: Rule,
        /// Its rule, where it has several.
        optional rule: Text,
        /// How many; nothing to say if not given.
        optional origins: Count,
        /// Why.
        default because: Text = "",
    }
}

keys! {
    /// A proposal as it must be.
    pub struct ProposalFacts {
        /// How many origins.
        optional origins: Count,
        /// Why, in the script's words.
        optional because: Wanted,
    }
}

/// A proposal, its count alone, or `none`.
#[derive(Clone, Debug)]
pub enum ProposalWanted {
    None,
    Of(ProposalFacts),
}

/// A number that may be zero.
#[derive(Clone, Debug)]
pub struct Figure(pub f64);

impl From<f64> for Figure {
    fn from(value: f64) -> Figure {
        Figure(value)
    }
}

impl Written for Figure {
    fn written(&self) -> serde_json::Value {
        self.0.into()
    }
}

impl Value for Figure {
    fn read(node: &Node, errors: &mut Errors) -> Option<Figure> {
        let number = match node.kind {
            Kind::Int(number) => number as f64,
            Kind::Float(number) => number,
            _ => f64::NAN,
        };
        if (0.0..=1e12).contains(&number) {
            return Some(Figure(number));
        }
        let problem = Problem::found(format!("found {}", node.describe()));
        errors.add(&node.place, problem.allowed("allowed: a number from 0, such as 0.8 or 50"));
        None
    }
}

impl Value for ProposalWanted {
    fn read(node: &Node, errors: &mut Errors) -> Option<ProposalWanted> {
        let place = node.place.clone();
        match &node.kind {
            Kind::Map(_) => ProposalFacts::read(node, errors).map(ProposalWanted::Of),
            Kind::Int(_) => {
                let origins = Some(At { value: Count::read(node, errors)?, place: place.clone() });
                Some(ProposalWanted::Of(ProposalFacts { place, origins, because: None }))
            }
            Kind::Text(text) if text == "none" => Some(ProposalWanted::None),
            _ => {
                let problem = Problem::found(format!("found {}", node.describe()));
                let allowed = "allowed: a count, a map of origins and because, or none (it has nothing to say)";
                errors.add(&node.place, problem.allowed(allowed));
                None
            }
        }
    }
}

any_schema! { ProposalWanted Figure }
