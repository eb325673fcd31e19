//! Where an exchange goes: what its plugins have chosen, and who was picked.
//!
//! A choice is among the members of a pool and never of an address: a plugin that a stranger wrote
//! must not reach what the region file does not name. Of several plugins the last word wins; what
//! they exclude adds up.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;

use abi::capability::Named;
use abi::{Answer, Call, OriginStats, Picked, Refusal, Status};

use super::Exchange;
use super::seat::{Home, Seat};
use crate::clock;
use crate::membership::{Member, PoolMembers, View};
use crate::route::Route;
use crate::snapshot::Snapshot;

/// Origins that one exchange may be kept from.
const MOST_EXCLUDED: usize = 1024;
/// Members that a refusal names.
const NAMED: usize = 8;

/// What plugins have chosen so far.
#[derive(Clone)]
pub struct Choice {
    /// `None` on a route that answers itself.
    pool: RefCell<Option<Arc<str>>>,
    /// For the next attempt alone: a retry goes elsewhere.
    host: Cell<Option<SocketAddr>>,
    excluded: RefCell<Vec<SocketAddr>>,
    picked: RefCell<Option<Picked>>,
}

impl Choice {
    pub fn of(route: &Route) -> Choice {
        Choice {
            pool: RefCell::new(route.pool.clone()),
            host: Cell::default(),
            excluded: RefCell::default(),
            picked: RefCell::default(),
        }
    }

    /// Back to what was chosen then; who was picked since stays known.
    pub fn restore(&self, then: Choice) {
        let Choice { pool, host, excluded, picked: _ } = then;
        self.pool.swap(&pool);
        self.host.swap(&host);
        self.excluded.swap(&excluded);
    }

    /// Where the request goes.
    pub fn pool(&self) -> Option<Arc<str>> {
        self.pool.borrow().clone()
    }

    /// Who got the latest attempt.
    pub fn picked(&self) -> Option<Picked> {
        self.picked.borrow().clone()
    }

    pub fn pick(&self, picked: Picked) {
        self.host.set(None);
        *self.picked.borrow_mut() = Some(picked);
    }

    /// Whether plugins leave the next attempt to this member.
    pub fn allows(&self, member: &Member) -> bool {
        self.host.get().is_none_or(|host| host == member.address) && !self.excludes(member.address)
    }

    fn excludes(&self, address: SocketAddr) -> bool {
        self.excluded.borrow().contains(&address)
    }

    /// What plugins have to do with there being nobody to pick; nothing, if they have not.
    pub fn why_none(&self, view: &View) -> String {
        if let Some(host) = self.host.get() {
            return format!("{host}, which a plugin chose, can take none any more");
        }
        let able = view.serving.iter().filter(|member| member.healthy());
        let (excluded, left): (Vec<_>, Vec<_>) = able.partition(|member| self.excludes(member.address));
        if excluded.is_empty() || left.iter().any(|member| !self.failed(member.address)) {
            return String::new();
        }
        let failed = if left.is_empty() { "" } else { ", and the one that is left has just failed" };
        format!("plugins excluded {} of the {} that could{failed}", excluded.len(), excluded.len() + left.len())
    }

    /// It got the attempt before this one.
    fn failed(&self, address: SocketAddr) -> bool {
        self.picked.borrow().as_ref().is_some_and(|picked| picked.address == address)
    }

    fn set_pool(&self, pool: &str, snapshot: &Snapshot) -> Answer<()> {
        let Some((name, _)) = snapshot.members.get_key_value(pool) else {
            return Err(no_pool("set_pool", pool, snapshot));
        };
        let mut chosen = self.pool.borrow_mut();
        if chosen.is_none() {
            let text = "origin.set_pool: the route answers itself, its requests go to no pool";
            return Err(Refusal::new(Status::BadArgument, text));
        }
        *chosen = Some(name.clone());
        self.host.set(None);
        Ok(())
    }

    fn set_host(&self, address: &str, snapshot: &Snapshot) -> Answer<()> {
        let host = parse("set_host", address)?;
        let pool = self.pool().unwrap_or_default();
        let view = snapshot.members.get(&pool).map(|members| members.view_full()).unwrap_or_default();
        let Some(member) = view.members.iter().find(|member| member.address == host) else {
            let mut members: Vec<_> =
                view.serving.iter().map(|member| member.address.to_string()).take(NAMED).collect();
            if view.serving.len() > NAMED {
                members.push("…".to_owned());
            }
            let text = format!("origin.set_host: {host} is not in pool {pool:?}; in it are: {}", members.join(", "));
            return Err(Refusal::new(Status::BadArgument, text));
        };
        let why = if self.excludes(host) {
            "is excluded for this exchange"
        } else if self.failed(host) {
            "has just failed"
        } else if member.stage != wire::Stage::Serving {
            "does not serve now"
        } else if !member.healthy() {
            "is unhealthy"
        } else {
            self.host.set(Some(host));
            return Ok(());
        };
        Err(Refusal::new(Status::Unavailable, format!("origin.set_host: {host} {why}")))
    }

    fn exclude(&self, address: &str) -> Answer<()> {
        let address = parse("exclude", address)?;
        let mut excluded = self.excluded.borrow_mut();
        if !excluded.contains(&address) {
            if excluded.len() >= MOST_EXCLUDED {
                let text = format!("origin.exclude: {MOST_EXCLUDED} origins are excluded already, no more may be");
                return Err(Refusal::new(Status::LimitExceeded, text));
            }
            excluded.push(address);
        }
        if self.host.get() == Some(address) {
            self.host.set(None);
        }
        Ok(())
    }
}

/// The refusals that need more than the row of the table are made here; the seat has checked that.
impl Seat {
    pub(super) fn set_pool(&self, exchange: &Exchange, pool: &str) -> Answer<()> {
        self.reaches(Call::OriginSetPool, pool)?;
        exchange.choice.set_pool(pool, &exchange.snapshot)
    }

    pub(super) fn set_host(&self, exchange: &Exchange, address: &str) -> Answer<()> {
        exchange.choice.set_host(address, &exchange.snapshot)
    }

    pub(super) fn exclude(&self, exchange: &Exchange, address: &str) -> Answer<()> {
        exchange.choice.exclude(address)
    }

    pub(super) fn stats(&self, pool: Option<&str>) -> Answer<Vec<OriginStats>> {
        let (snapshot, chosen) = match &self.home {
            Home::Exchange { exchange, .. } => (exchange.snapshot.clone(), exchange.choice.pool()),
            Home::Plugin { .. } => {
                let worker = self.surroundings.worker();
                let worker = worker.ok_or_else(|| Refusal::new(Status::Unavailable, "origin.stats: no worker runs"))?;
                (worker.snapshot(), None)
            }
        };
        let pool = match (pool, &chosen) {
            (Some(pool), _) => pool,
            (None, Some(chosen)) => chosen,
            (None, None) => {
                let text = "origin.stats: which pool? there is no exchange here that goes to one";
                return Err(Refusal::new(Status::BadArgument, text));
            }
        };
        self.reaches(Call::OriginStats, pool)?;
        let members = snapshot.members.get(pool).ok_or_else(|| no_pool("stats", pool, &snapshot))?;
        Ok(stats(members))
    }

    /// The pool of the route comes with `origin.select`, any other one takes a grant of its own.
    fn reaches(&self, call: Call, pool: &str) -> Answer<()> {
        if let Home::Exchange { exchange, .. } = &self.home
            && exchange.route.pool.as_deref() == Some(pool)
        {
            return Ok(());
        }
        call.check_grant(&self.bound.settings.capabilities, Named::Origin, pool)
    }
}

fn stats(members: &PoolMembers) -> Vec<OriginStats> {
    let now = clock::now();
    let of = |member: &Arc<Member>| OriginStats {
        address: member.address,
        stage: member.stage.name(),
        healthy: member.healthy(),
        share: member.share(now),
        in_flight: member.in_flight(),
        requests: member.requests(),
        latency: member.latency(),
    };
    members.view().members.iter().map(of).collect()
}

fn parse(call: &str, address: &str) -> Answer<SocketAddr> {
    address.parse().map_err(|_| {
        let text = format!("origin.{call}: {address:?} is no address; allowed: IP:PORT, as origin.stats gives it");
        Refusal::new(Status::BadArgument, text)
    })
}

fn no_pool(call: &str, pool: &str, snapshot: &Snapshot) -> Refusal {
    let pools: Vec<_> = snapshot.region.pools.keys().map(String::as_str).collect();
    let near = config::error::near_miss(pool, pools.iter().copied());
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let text = format!("origin.{call}: no pool {pool:?}; pools are: {}{near}", pools.join(", "));
    Refusal::new(Status::BadArgument, text)
}
