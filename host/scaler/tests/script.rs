//! Scripts with explicit times: a region in code, edges that are only their reports, and origins
//! that boot when the script says so.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::region::*;
use forebay_scaler as scaler;
use jiff::Timestamp;
use scaler::region::Applied;
use scaler::{Actions, Decision, Event, Limit, Observed, Proposal, Question, Source};
use wire::{OriginReport, PoolReport, Report, Stage};

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// 1 to 8 origins, 10 requests a second each over 10 s, no limits on steps, no stabilisation.
pub fn scaling() -> Scaling {
    Scaling {
        mode: ScalingMode::On,
        floor: 1,
        ceiling: 8,
        signals: Vec::new(),
        reactive: Some(Reactive { requests_per_origin: Some(10.0), window: secs(10), headroom: 1.0 }),
        predictive: None,
        budget: None,
        schedules: Vec::new(),
        scripts: Vec::new(),
        lead: secs(60),
        lead_bounds: None,
        step_up: 100.into(),
        step_down: 100.into(),
        tolerance: Scaling::TOLERANCE,
        stabilisation: Duration::ZERO,
        warm_pool: None,
        hints: None,
        actuator: Actuator::DryRun,
    }
}

/// The engine at 10 requests a second for each origin, and nothing else that would propose.
pub fn predictive(price: f64) -> Scaling {
    let rule = Predictive { requests_per_origin: Some(10.0), price, shadow: false };
    Scaling { ceiling: 1000, reactive: None, predictive: Some(rule), ..scaling() }
}

pub fn evening() -> Schedule {
    Schedule {
        name: "evening".into(),
        when: When::Cron("0 18 * * *".into()),
        zone: "Europe/Berlin".into(),
        duration: secs(2 * 3600),
        floor: Some(5),
        ceiling: None,
        target: None,
        multiply: None,
        lead: secs(60),
        own_lead: true,
        ramp_up: Duration::ZERO,
        ramp_down: Duration::ZERO,
        on: None,
        except: None,
        profiles: Vec::new(),
    }
}

pub fn region(scaling: Scaling, listed: &[SocketAddr]) -> Arc<Region> {
    let pool = Pool {
        name: "shop".into(),
        origins: listed.to_vec(),
        balance: Balance::RoundRobin,
        http2: false,
        timeouts: PoolTimeouts { response: secs(30), body: secs(60), ..PoolTimeouts::default() },
        idle_connections: 8,
        health: None,
        warmup: Some(Warmup { path: "/".into(), requests: 1, timeout: secs(20) }),
        slow_start: Duration::ZERO,
        scaling: Some(scaling),
    };
    Arc::new(Region {
        edge: None,
        aggregator: Some(Aggregator {
            address: "127.0.0.1:0".parse().unwrap(),
            region: "test".into(),
            journal: None,
            history: None,
            tick: secs(1),
            stale_after: secs(5),
            lease: None,
        }),
        log: Log { format: LogFormat::Json, filter: "info".into(), access: false },
        secrets: Default::default(),
        plugins: BTreeMap::new(),
        routes: Vec::new(),
        pools: [("shop".to_string(), Arc::new(pool))].into(),
        targets: Default::default(),
        dicts: BTreeMap::new(),
        buckets: BTreeMap::new(),
        kv: BTreeMap::new(),
        queues: BTreeMap::new(),
        calendars: Vec::new(),
    })
}

/// A region whose edges report every 15 s, for days of script.
pub fn slow(scaling: Scaling) -> Arc<Region> {
    let mut region = Region::clone(&region(scaling, &[]));
    let aggregator = region.aggregator.as_mut().unwrap();
    (aggregator.tick, aggregator.stale_after) = (secs(15), secs(40));
    Arc::new(region)
}

/// The script: what happens, in order, at a time that only it moves.
pub struct Script {
    pub now: Timestamp,
    pub region: scaler::Region,
    pub decisions: Vec<Decision>,
    /// What policy plugins were to be asked, in all.
    pub questions: Vec<Question>,
    /// What runs, as an actuator would see it.
    pub origins: Vec<Observed>,
    seq: u64,
    port: u16,
}

impl Script {
    pub fn new(scaling: Scaling, now: &str) -> Script {
        Script::with(region(scaling, &[]), now)
    }

    pub fn with(config: Arc<Region>, now: &str) -> Script {
        let now = at(now);
        let region = scaler::Region::new(&config, now);
        let (decisions, questions, origins) = Default::default();
        let mut script = Script { now, region, decisions, questions, origins, seq: 0, port: 9000 };
        script.observe();
        script
    }

    pub fn observe(&mut self) {
        let origins = self.origins.clone();
        self.apply(Event::Observed { pool: "shop".into(), origins });
    }

    pub fn apply(&mut self, event: Event) -> Applied {
        self.region.apply(event, self.now).unwrap()
    }

    /// A report of `edge` of so many requests in the last second.
    pub fn report(&mut self, edge: &str, requests: u64) -> Applied {
        let report = self.make_report(edge, PoolReport { requests, ..PoolReport::default() });
        self.apply(Event::Report(report))
    }

    pub fn make_report(&mut self, edge: &str, pool: PoolReport) -> Report {
        self.seq += 1;
        Report {
            version: 1,
            edge: edge.into(),
            boot: 1,
            seq: self.seq,
            period_ms: 1000,
            pools: [("shop".to_string(), pool)].into(),
            farewell: false,
        }
    }

    /// The last report of `edge`, of so many requests, which says so.
    pub fn farewell(&mut self, edge: &str, requests: u64) -> Report {
        let report = self.make_report(edge, PoolReport { requests, ..PoolReport::default() });
        let report = Report { farewell: true, ..report };
        assert_eq!(self.apply(Event::Report(report.clone())), Applied::Taken);
        report
    }

    /// A report of so many requests and of what plugins ask for: plugin, kind, value, seconds that it
    /// stands, seconds until it is needed.
    pub fn hint(&mut self, edge: &str, requests: u64, hints: &[(&str, &str, f64, u64, u64)]) {
        let hints = hints.iter().map(|(plugin, kind, value, ttl, due)| wire::Hint {
            plugin: (*plugin).into(),
            kind: (*kind).into(),
            value: *value,
            ttl_ms: ttl * 1000,
            due_ms: due * 1000,
        });
        let pool = PoolReport { requests, hints: hints.collect(), ..PoolReport::default() };
        let report = self.make_report(edge, pool);
        self.apply(Event::Report(report));
        self.step();
    }

    /// Asks, and lets every decision stand.
    pub fn step(&mut self) -> Actions {
        let actions = self.region.next(self.now);
        self.questions.extend(actions.questions.iter().cloned());
        for decision in &actions.decisions {
            self.apply(Event::Decided(Box::new(decision.clone())));
            self.decisions.push(decision.clone());
        }
        if actions.decisions.is_empty() { actions } else { self.region.next(self.now) }
    }

    /// One second later.
    pub fn pass(&mut self) {
        self.now += secs(1);
    }

    /// So many seconds in which each of `edges` reports the load given for it and pools are decided.
    pub fn run(&mut self, seconds: u64, edges: &[(&str, u64)]) {
        for _ in 0..seconds {
            self.pass();
            for (edge, load) in edges {
                self.report(edge, *load);
            }
            self.step();
        }
    }

    /// A step of the engine: 15 s in which each of `edges` saw so many requests a second.
    pub fn pass_step(&mut self, edges: &[(&str, f64)]) {
        self.now += secs(15);
        for (edge, load) in edges {
            let seen = PoolReport { requests: (load * 15.0).round() as u64, ..PoolReport::default() };
            let mut report = self.make_report(edge, seen);
            report.period_ms = 15_000;
            self.apply(Event::Report(report));
        }
        self.step();
    }

    pub fn last(&self) -> &Decision {
        self.decisions.last().expect("something was decided")
    }

    /// What the last decision had from there.
    pub fn proposal(&self, source: Source) -> Proposal {
        self.last().proposals.iter().find(|proposal| proposal.source == source).expect("it proposes").clone()
    }

    pub fn count(&self) -> u32 {
        self.last().to
    }

    /// A process starts, as an actuator would see it.
    pub fn launch(&mut self) -> SocketAddr {
        self.port += 1;
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let launched_at = self.now;
        self.origins.push(Observed {
            address,
            launched_at,
            ready_at: None,
            serving_at: None,
            stopping: false,
            parked: false,
            leaving: None,
        });
        self.observe();
        address
    }

    pub fn ready(&mut self, address: SocketAddr) {
        let now = self.now;
        self.origins.iter_mut().find(|origin| origin.address == address).unwrap().ready_at = Some(now);
        self.observe();
    }

    pub fn ends(&mut self, address: SocketAddr) {
        self.origins.retain(|origin| origin.address != address);
        self.observe();
    }

    /// A report that says what the edge knows of origins; answered, so that it knows who drains.
    pub fn report_origins(&mut self, edge: &str, requests: u64, origins: &[(SocketAddr, bool, u64)]) {
        let origins = origins.iter().map(|(address, warmed, in_flight)| {
            let report = OriginReport { requests: 0, in_flight: *in_flight, healthy: true, warmed: *warmed };
            (*address, report)
        });
        let pool = PoolReport { requests, origins: origins.collect(), ..PoolReport::default() };
        let report = self.make_report(edge, pool);
        self.apply(Event::Report(report));
        self.step();
        self.region.answer(edge, self.now);
    }

    /// Does what a willing actuator would: stops whom it is told to, starts until as many run, and notes who waits
    /// in the warm pool. Who was started.
    pub fn carry_out(&mut self) -> Vec<SocketAddr> {
        let actions = self.step().pools.remove("shop").unwrap();
        self.origins.retain(|origin| !actions.stop.contains(&origin.address));
        let mut started = Vec::new();
        while self.origins.len() < actions.run.unwrap_or_default() as usize {
            started.push(self.launch());
        }
        let parked = self.step().pools.remove("shop").unwrap().parked;
        self.origins.iter_mut().for_each(|origin| origin.parked = parked.contains(&origin.address));
        self.observe();
        started
    }

    /// So many seconds of load through one edge, which warms whoever is ready; what is decided is carried out. Who
    /// is in `boots` is ready after so many seconds.
    pub fn live(&mut self, seconds: u64, load: u64, boot: u64, dead: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut started = Vec::new();
        for _ in 0..seconds {
            self.pass();
            let now = self.now;
            for origin in self.origins.iter_mut().filter(|origin| !dead.contains(&origin.address)) {
                if origin.ready_at.is_none() && now >= origin.launched_at + secs(boot) {
                    origin.ready_at = Some(now);
                }
            }
            self.observe();
            let all: Vec<_> = self.origins.iter().map(|o| (o.address, o.ready_at.is_some(), 0)).collect();
            self.report_origins("e1", load, &all);
            started.extend(self.carry_out());
        }
        started
    }

    pub fn view(&mut self) -> scaler::region::PoolView {
        self.region.pool("shop", self.now).unwrap()
    }

    pub fn stage(&mut self, address: SocketAddr) -> Option<Stage> {
        let members = self.region.membership(self.now).pools.remove("shop")?;
        members.iter().find(|member| member.address == address).map(|member| member.stage)
    }
}

pub fn limits(decision: &Decision) -> Vec<Limit> {
    decision.clamps.iter().map(|clamp| clamp.limit).collect()
}
