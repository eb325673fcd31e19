//! Who is in each pool now and in which stage, for the edges and for the metrics.

use scaler::budget::Month;
use scaler::{LeadView, PoolView};
use wire::Stage;

/// A pool's gauge without a further label: its name, what it is, and its value where there is one.
type PoolGauge = (&'static str, &'static str, fn(&PoolView) -> Option<f64>);

const GAUGES: [PoolGauge; 20] = [
    (
        "forebay_aggregator_capacity_origins",
        "Origins that take traffic, each in its slow start as far as that is",
        |view| Some(view.carries),
    ),
    (
        "forebay_aggregator_origins_replaced",
        "Origins that are late or going, in whose place others run or will",
        |view| Some(view.replaced.len() as f64),
    ),
    ("forebay_aggregator_origins_desired", "Origins that a pool shall have: the decision that stands", |view| {
        view.desired.map(f64::from)
    }),
    ("forebay_aggregator_origins_wanted", "Origins that the winning rule proposed, before any limit", |view| {
        Some(f64::from(view.decision.as_ref()?.want))
    }),
    (
        "forebay_aggregator_origins_floor",
        "Origins that a pool has at least; a schedule's window may ask for more",
        |view| Some(f64::from(view.floor)),
    ),
    ("forebay_aggregator_origins_ceiling", "Origins that a pool has at most; it binds where more are wanted", |view| {
        Some(f64::from(view.ceiling))
    }),
    // What nobody knows is no zero on a dashboard either.
    (
        "forebay_aggregator_demand_origins",
        "Origins that the largest signal asks for now, before any headroom; NaN while none is known",
        |view| Some(view.demand.origins.unwrap_or(f64::NAN)),
    ),
    (
        "forebay_aggregator_origins_advised",
        "Origins that a pool would have, in the mode advise; else those desired",
        |view| view.advised.or(view.desired).map(f64::from),
    ),
    (
        "forebay_aggregator_origins_late",
        "Origins that were asked for longer than a lead ago and do not serve; at 0 all do",
        |view| {
            let late = view.decision.as_ref()?.late.as_ref();
            Some(f64::from(late.map_or(0, |late| late.asked.saturating_sub(late.serving))))
        },
    ),
    (
        "forebay_aggregator_actuator_troubled",
        "1: the last start came to nothing, and none has succeeded since; 0: all is well",
        |view| Some(flag(view.decision.as_ref()?.trouble.is_some())),
    ),
    (
        "forebay_aggregator_predicted_violation_percent",
        "Percent of the requests of the coming peak that come over the capacity of the decided count",
        |view| Some(view.decision.as_ref()?.predicted.as_ref()?.violation),
    ),
    (
        "forebay_aggregator_price",
        "What a violating request costs in what serving one costs, where there is a budget",
        |view| view.budget.as_ref()?.price,
    ),
    (
        "forebay_aggregator_budget_reached",
        "1: what the budget aims at is had within its ceiling; 0: it is not",
        |view| Some(flag(view.budget.as_ref()?.reached)),
    ),
    (
        "forebay_aggregator_budget_spent_origin_hours",
        "Origin-hours of this calendar month so far, as counted",
        |view| Some(month(view)?.spent_hours),
    ),
    (
        "forebay_aggregator_budget_projected_origin_hours",
        "Origin-hours of this calendar month: those so far, and what is to come as it looks now",
        |view| Some(month(view)?.projected_hours),
    ),
    (
        "forebay_aggregator_budget_ceiling_origin_hours",
        "Origin-hours that the budget allows in this calendar month, or in the part of it that is counted",
        |view| Some(month(view)?.ceiling_hours),
    ),
    ("forebay_aggregator_capacity_per_origin", "Requests a second that one origin carries, as learned", |view| {
        Some(view.demand.learned()?.per_origin)
    }),
    (
        "forebay_aggregator_capacity_drift",
        "1: what an origin carries is seen to be over 20 % from what is configured; 0: it is not",
        |view| Some(flag(view.demand.learned()?.drift)),
    ),
    (
        "forebay_aggregator_lead_seconds",
        "From the launch of an origin to its full capacity, as the pool goes by it",
        |view| Some(view.lead.seconds),
    ),
    ("forebay_aggregator_lead_samples", "Origins that the learned lead is from", |view| Some(view.lead.samples as f64)),
];

/// The same of what only grows.
type PoolCounter = (&'static str, &'static str, fn(&PoolView) -> u64);

const COUNTERS: [PoolCounter; 3] = [
    ("forebay_aggregator_origin_seconds_total", "Seconds from launch to stop, over all origins of a pool", |view| {
        view.origin_seconds as u64
    }),
    (
        "forebay_aggregator_warm_seconds_total",
        "Seconds in the warm pool, or booting for it, over all origins",
        |view| view.warm_seconds as u64,
    ),
    ("forebay_aggregator_launches_failed_total", "Launches that ended by themselves before they were ready", |view| {
        view.lead.failed
    }),
];

/// Says what each metric of the aggregator is, for whoever reads `/metrics`.
pub fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};
    for (name, what, _) in GAUGES {
        gauge!(name, what);
    }
    for (name, what, _) in COUNTERS {
        counter!(name, what);
    }
    gauge!("forebay_aggregator_origins", "Origins of a pool by stage; listed ones are serving");
    gauge!("forebay_aggregator_peer_origins", "Origins that another autoscaler would have, by its rule");
    gauge!(
        "forebay_aggregator_lead_learned_seconds",
        "What origins took that came into service, by part (boot, warm_up, both) and percentile"
    );
    gauge!("forebay_aggregator_leader", "1: this aggregator acts; 0: another has the lease, or nobody");
    gauge!(
        "forebay_aggregator_lapsed",
        "1: the last to lead, and the lease's store is silent: only scheduled floors are brought about"
    );
    counter!("forebay_aggregator_lease_transitions_total", "Beginnings and ends of the lease here, by what came");
    counter!("forebay_aggregator_lease_failures_total", "Questions about the lease that got no answer");
    counter!(
        "forebay_aggregator_fenced_total",
        "Changes to origins that were refused, as an aggregator with a higher token had acted"
    );
    gauge!("forebay_aggregator_edges_fresh", "Edges whose last report is young enough to count");
    counter!("forebay_aggregator_decisions_total", "Decisions in the journal, by what won");
    counter!("forebay_aggregator_journal_failures_total", "Decisions that could not be written, and were not done");
    histogram!(
        "forebay_aggregator_history_commit_seconds",
        "How long it took to have what pools saw in a tick on the disk"
    );
    counter!(
        "forebay_aggregator_history_failures_total",
        "Files of what pools saw that were damaged, or could not be used"
    );
    counter!("forebay_aggregator_clock_steps_total", "Times that the wall clock was set by a second or more");
    counter!("forebay_aggregator_scrapes_total", "Origins asked for their metrics, by result");
    counter!(
        "forebay_aggregator_script_answers_total",
        "Answers of policy plugins: proposed a count, had nothing to say, or none came (silent)"
    );
    counter!("forebay_aggregator_script_faults_total", "Faults of policy plugins, by verdict");
    counter!("forebay_aggregator_reports_total", "Reports of edges that were taken");
    counter!("forebay_aggregator_reports_repeated_total", "Reports of edges that had come before");
    counter!("forebay_aggregator_reports_refused_total", "Reports of edges that were refused whole, by reason");
    counter!("forebay_aggregator_actuator_actions_total", "Starts and stops of origins that were asked for, by action");
    counter!("forebay_aggregator_actuator_failures_total", "Starts that came to nothing");
    counter!("forebay_aggregator_origins_crashed_total", "Origins that ended without being asked");
    histogram!(
        "forebay_aggregator_actuator_seconds",
        "How long starts took until ready, and stops from the first signal to the end, by action"
    );
}

/// Sets a pool's gauges.
pub fn measure(pool: &str, view: &PoolView) {
    for (name, _, of) in GAUGES {
        if let Some(value) = of(view) {
            metrics::gauge!(name, "pool" => pool.to_string()).set(value);
        }
    }
    for (name, _, of) in COUNTERS {
        metrics::counter!(name, "pool" => pool.to_string()).absolute(of(view));
    }
    let stages = Stage::ALL.map(|stage| (stage.name(), view.capacity.get(stage)));
    for (stage, origins) in stages.into_iter().chain([("warm", view.capacity.warm)]) {
        metrics::gauge!("forebay_aggregator_origins", "pool" => pool.to_string(), "stage" => stage).set(origins);
    }
    for peer in view.decision.iter().flat_map(|decision| &decision.peers) {
        metrics::gauge!("forebay_aggregator_peer_origins", "pool" => pool.to_string(), "rule" => peer.rule.clone())
            .set(peer.origins);
    }
    measure_lead(pool, &view.lead);
}

fn measure_lead(pool: &str, lead: &LeadView) {
    for (part, learned) in [("boot", lead.boot), ("warm_up", lead.warm_up), ("both", lead.both)] {
        let Some(learned) = learned else { continue };
        for (percentile, seconds) in [("50", learned.p50), ("95", learned.p95), ("99", learned.p99)] {
            metrics::gauge!("forebay_aggregator_lead_learned_seconds",
                "pool" => pool.to_string(), "part" => part, "percentile" => percentile)
            .set(seconds);
        }
    }
}

fn month(view: &PoolView) -> Option<&Month> {
    view.budget.as_ref()?.month.as_ref()
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}
