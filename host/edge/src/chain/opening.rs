//! How a plugin comes to its place in the chain: an instance is leased, or waited for where one is being
//! started, or there is none.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use abi::Callbacks;
use config::FaultPolicy;

use super::Chain;
use super::slot::{self, Role, Slot};
use crate::exchange::Stop;
use crate::instances::Unready;
use crate::life::Admission;
use crate::reject::Reject;

impl Chain {
    /// The slot at this place, if its plugin has any of these callbacks or is open already.
    pub(super) async fn slot(&self, place: usize, wanted: Callbacks) -> Result<Option<Rc<Slot>>, Stop> {
        loop {
            if let Some(slot) = self.opened(place) {
                return Ok(Some(slot));
            }
            let Some(role) = self.role(place)? else { return Ok(None) };
            if !role.bound().code.callbacks().intersects(wanted) {
                return Ok(None);
            }
            let (role, why) = match self.open(place, role).await? {
                Ok(slot) => {
                    self.slots.borrow_mut()[place] = Some(slot.clone());
                    return Ok(Some(slot));
                }
                Err(unready) => unready,
            };
            let judged = self.unready(&role, &why);
            // The version before it has no room of its own.
            let crowded = matches!(why, Unready::Crowded(_));
            if !crowded && !role.stands_in && role.life.good.is_some() {
                self.admitted.borrow_mut()[place] = Some(Admission::StandIn);
                continue;
            }
            // It is passed by, and not tried again.
            self.admitted.borrow_mut()[place] = Some(Admission::PassedBy);
            return judged.map(|()| None);
        }
    }

    pub(super) fn opened(&self, place: usize) -> Option<Rc<Slot>> {
        self.slots.borrow()[place].clone()
    }

    /// Leases an instance for `role`, and waits for one that is being started; the other routes of the worker
    /// go on meanwhile.
    pub(super) async fn open(&self, place: usize, role: Role) -> Result<Result<Rc<Slot>, (Role, Unready)>, Stop> {
        let instances = &self.exchange.worker.instances;
        let leased = match instances.lease(role.bound()) {
            // Out of line: hardly any exchange comes here.
            Err(Unready::Coming) => Box::pin(self.unless_stopped(instances.leased(role.bound()))).await?,
            leased => leased,
        };
        Ok(match leased {
            Ok(lease) => Slot::open(place, role, &self.exchange, lease).map_err(|(role, fault)| (role, fault.into())),
            Err(why) => Err((role, why)),
        })
    }

    /// Waits for `work`, or for the exchange to be stopped.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Some(stop) = self.exchange.stopped() {
                return Poll::Ready(Err(stop));
            }
            self.exchange.watch(cx);
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// There is no instance for `role`: what that means for the exchange, where no other version serves.
    pub(super) fn unready(&self, role: &Role, why: &Unready) -> Result<(), Stop> {
        match why {
            Unready::Failed(fault) => {
                slot::report(role, &self.exchange, fault, "on_context_create");
                role.fault(fault.cpu);
                slot::judge(role, fault, false)
            }
            // How many exchanges there are at once was for others to say: it has failed in nothing.
            Unready::Crowded(detail) => {
                let plugin = &role.bound().settings.plugin;
                self.exchange.worker.telemetry.plugin_crowded(plugin);
                match role.life.policy() {
                    FaultPolicy::Open => Ok(()),
                    FaultPolicy::Closed | FaultPolicy::LastGood => {
                        Err(Stop::Reject(Reject::PluginCrowded { plugin: plugin.clone(), detail: detail.clone() }))
                    }
                }
            }
            // The fault that has ended it has been counted and said: this one has failed in nothing.
            Unready::Held { cause, wait } => {
                let plugin = &role.bound().settings.plugin;
                self.exchange.worker.telemetry.plugin_collateral(plugin, *cause);
                role.life.record.add_collateral();
                match role.life.policy() {
                    FaultPolicy::Open => Ok(()),
                    FaultPolicy::Closed | FaultPolicy::LastGood => {
                        let (plugin, cause, wait) = (plugin.clone(), *cause, *wait);
                        Err(Stop::Reject(Reject::PluginRestarting { plugin, cause, wait }))
                    }
                }
            }
            Unready::Coming => Ok(()),
        }
    }
}
