//! The section `crash_budget`.

use super::place;
use crate::error::{Errors, Place, Problem};
use crate::raw::budget as raw;
use crate::region::CrashBudget;

pub fn budget(raw: &raw::Budget, errors: &mut Errors) -> CrashBudget {
    let budget = CrashBudget { faults: raw.faults.0, within: raw.within.0, back_off: raw.back_off.0, most: raw.most.0 };
    refuse_less(&budget, &raw.most.place, errors);
    budget
}

/// The route's budget where it gives one, else the plugin's.
pub fn budget_over(raw: &raw::RouteBudget, plugin: &CrashBudget, errors: &mut Errors) -> CrashBudget {
    let budget = CrashBudget {
        faults: raw.faults.as_ref().map_or(plugin.faults, |faults| faults.0),
        within: raw.within.as_ref().map_or(plugin.within, |within| within.0),
        back_off: raw.back_off.as_ref().map_or(plugin.back_off, |back_off| back_off.0),
        most: raw.most.as_ref().map_or(plugin.most, |most| most.0),
    };
    // Where neither is given here, the plugin's own place has the error already.
    if let Some(at) = place(&raw.most).or(place(&raw.back_off)) {
        refuse_less(&budget, at, errors);
    }
    budget
}

fn refuse_less(budget: &CrashBudget, at: &Place, errors: &mut Errors) {
    if budget.most < budget.back_off {
        let problem = Problem::found("\"most\" is less than \"back_off\", from which it doubles");
        errors.add(at, problem.allowed("allowed: at least \"back_off\""));
    }
}
