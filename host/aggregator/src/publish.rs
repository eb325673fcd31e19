//! Who is in each pool now and in which stage, for the edges and for the metrics.

use scaler::budget::Spending;
use scaler::{Decision, LeadView, PoolView};
use wire::Stage;

/// Says what each metric of the aggregator is, for whoever reads `/metrics`.
pub fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};
    gauge!("forebay_aggregator_origins", "Origins of a pool by stage; listed ones are serving");
    gauge!(
        "forebay_aggregator_capacity_origins",
        "Origins that take traffic, each in its slow start as far as that is"
    );
    gauge!("forebay_aggregator_origins_replaced", "Origins that are late or going, in whose place others run or will");
    counter!("forebay_aggregator_warm_seconds_total", "Seconds in the warm pool, or booting for it, over all origins");
    gauge!("forebay_aggregator_origins_desired", "Origins that a pool shall have: the decision that stands");
    gauge!("forebay_aggregator_origins_wanted", "Origins that the winning rule proposed, before any limit");
    gauge!(
        "forebay_aggregator_origins_floor",
        "Origins that a pool has at least; a schedule's window may ask for more"
    );
    gauge!("forebay_aggregator_origins_ceiling", "Origins that a pool has at most; it binds where more are wanted");
    gauge!(
        "forebay_aggregator_demand_origins",
        "Origins that the largest signal asks for now, before any headroom; NaN while none is known"
    );
    gauge!(
        "forebay_aggregator_origins_advised",
        "Origins that a pool would have, in the mode advise; else those desired"
    );
    gauge!(
        "forebay_aggregator_origins_late",
        "Origins that were asked for longer than a lead ago and do not serve; at 0 all do"
    );
    gauge!(
        "forebay_aggregator_actuator_troubled",
        "1: the last start came to nothing, and none has succeeded since; 0: all is well"
    );
    gauge!(
        "forebay_aggregator_predicted_violation_percent",
        "Percent of the requests of the coming peak that come over the capacity of the decided count"
    );
    gauge!("forebay_aggregator_peer_origins", "Origins that another autoscaler would have, by its rule");
    gauge!(
        "forebay_aggregator_price",
        "What a violating request costs in what serving one costs, where there is a budget"
    );
    gauge!("forebay_aggregator_budget_reached", "1: what the budget aims at is had within its ceiling; 0: it is not");
    gauge!("forebay_aggregator_budget_spent_origin_hours", "Origin-hours of this calendar month so far, as counted");
    gauge!(
        "forebay_aggregator_budget_projected_origin_hours",
        "Origin-hours of this calendar month: those so far, and what is to come as it looks now"
    );
    gauge!(
        "forebay_aggregator_budget_ceiling_origin_hours",
        "Origin-hours that the budget allows in this calendar month, or in the part of it that is counted"
    );
    gauge!("forebay_aggregator_capacity_per_origin", "Requests a second that one origin carries, as learned");
    gauge!(
        "forebay_aggregator_capacity_drift",
        "1: what an origin carries is seen to be over 20 % from what is configured; 0: it is not"
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
    counter!("forebay_aggregator_origin_seconds_total", "Seconds from launch to stop, over all origins of a pool");
    gauge!(
        "forebay_aggregator_lead_seconds",
        "From the launch of an origin to its full capacity, as the pool goes by it"
    );
    gauge!(
        "forebay_aggregator_lead_learned_seconds",
        "What origins took that came into service, by part (boot, warm_up, both) and percentile"
    );
    gauge!("forebay_aggregator_lead_samples", "Origins that the learned lead is from");
    counter!("forebay_aggregator_launches_failed_total", "Launches that ended by themselves before they were ready");
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
    counter!(
        "forebay_aggregator_script_answers_total",
        "Answers of policy plugins: proposed a count, had nothing to say, or none came (silent)"
    );
    counter!("forebay_aggregator_script_faults_total", "Faults of policy plugins, by verdict");
    counter!("forebay_aggregator_scrapes_total", "Origins asked for their metrics, by result");
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
    for stage in Stage::ALL {
        metrics::gauge!("forebay_aggregator_origins", "pool" => pool.to_string(), "stage" => stage.name())
            .set(view.capacity.get(stage));
    }
    metrics::gauge!("forebay_aggregator_origins", "pool" => pool.to_string(), "stage" => "warm")
        .set(view.capacity.warm);
    metrics::gauge!("forebay_aggregator_capacity_origins", "pool" => pool.to_string()).set(view.carries);
    metrics::gauge!("forebay_aggregator_origins_replaced", "pool" => pool.to_string()).set(view.replaced.len() as f64);
    metrics::counter!("forebay_aggregator_warm_seconds_total", "pool" => pool.to_string())
        .absolute(view.warm_seconds as u64);
    if let Some(desired) = view.desired {
        metrics::gauge!("forebay_aggregator_origins_desired", "pool" => pool.to_string()).set(desired);
    }
    if let Some(advised) = view.advised.or(view.desired) {
        metrics::gauge!("forebay_aggregator_origins_advised", "pool" => pool.to_string()).set(advised);
    }
    metrics::gauge!("forebay_aggregator_origins_floor", "pool" => pool.to_string()).set(view.floor);
    metrics::gauge!("forebay_aggregator_origins_ceiling", "pool" => pool.to_string()).set(view.ceiling);
    // What nobody knows is no zero on a dashboard either.
    metrics::gauge!("forebay_aggregator_demand_origins", "pool" => pool.to_string())
        .set(view.demand.origins.unwrap_or(f64::NAN));
    lead(pool, &view.lead);
    if let Some(decision) = &view.decision {
        measure_record(pool, decision);
    }
    if let Some(spending) = &view.budget {
        measure_budget(pool, spending);
    }
    if let Some(learned) = view.demand.learned() {
        metrics::gauge!("forebay_aggregator_capacity_per_origin", "pool" => pool.to_string()).set(learned.per_origin);
        let drift = if learned.drift { 1.0 } else { 0.0 };
        metrics::gauge!("forebay_aggregator_capacity_drift", "pool" => pool.to_string()).set(drift);
    }
    metrics::counter!("forebay_aggregator_origin_seconds_total", "pool" => pool.to_string())
        .absolute(view.origin_seconds as u64);
}

fn lead(pool: &str, lead: &LeadView) {
    metrics::gauge!("forebay_aggregator_lead_seconds", "pool" => pool.to_string()).set(lead.seconds);
    metrics::gauge!("forebay_aggregator_lead_samples", "pool" => pool.to_string()).set(lead.samples as f64);
    metrics::counter!("forebay_aggregator_launches_failed_total", "pool" => pool.to_string()).absolute(lead.failed);
    for (part, learned) in [("boot", lead.boot), ("warm_up", lead.warm_up), ("both", lead.both)] {
        let Some(learned) = learned else { continue };
        for (percentile, seconds) in [("50", learned.p50), ("95", learned.p95), ("99", learned.p99)] {
            metrics::gauge!("forebay_aggregator_lead_learned_seconds",
                "pool" => pool.to_string(), "part" => part, "percentile" => percentile)
            .set(seconds);
        }
    }
}

fn measure_record(pool: &str, decision: &Decision) {
    let label = || pool.to_string();
    let late = decision.late.as_ref().map_or(0, |late| late.asked.saturating_sub(late.serving));
    metrics::gauge!("forebay_aggregator_origins_late", "pool" => label()).set(late);
    metrics::gauge!("forebay_aggregator_origins_wanted", "pool" => label()).set(decision.want);
    let troubled = if decision.trouble.is_some() { 1.0 } else { 0.0 };
    metrics::gauge!("forebay_aggregator_actuator_troubled", "pool" => label()).set(troubled);
    if let Some(predicted) = &decision.predicted {
        metrics::gauge!("forebay_aggregator_predicted_violation_percent", "pool" => label()).set(predicted.violation);
    }
    for peer in &decision.peers {
        metrics::gauge!("forebay_aggregator_peer_origins", "pool" => label(), "rule" => peer.rule.clone())
            .set(peer.origins);
    }
}

fn measure_budget(pool: &str, spending: &Spending) {
    let label = || pool.to_string();
    if let Some(price) = spending.price {
        metrics::gauge!("forebay_aggregator_price", "pool" => label()).set(price);
    }
    let reached = if spending.reached { 1.0 } else { 0.0 };
    metrics::gauge!("forebay_aggregator_budget_reached", "pool" => label()).set(reached);
    if let Some(month) = &spending.month {
        for (name, hours) in [
            ("forebay_aggregator_budget_spent_origin_hours", month.spent_hours),
            ("forebay_aggregator_budget_projected_origin_hours", month.projected_hours),
            ("forebay_aggregator_budget_ceiling_origin_hours", month.ceiling_hours),
        ] {
            metrics::gauge!(name, "pool" => label()).set(hours);
        }
    }
}
