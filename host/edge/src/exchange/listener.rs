//! Work that a plugin starts and is told the end of: a callout, a timer, what comes of a gRPC stream.

use std::future::Future;
use std::rc::{Rc, Weak};

use abi::{Event, Phase, Side, Token};
use tokio::task::AbortHandle;

use super::seat::{Home, Seat};
use crate::callout::Ended;
use crate::chain::slot::Slot;
use crate::instances::Running;
use crate::worker::Detached;

/// Whoever started it, if it still stands.
pub(super) enum Listener {
    /// In phase log the exchange has ended, and the context stays until it is told.
    Exchange {
        slot: Weak<Slot>,
        side: Side,
        late: Option<Late>,
    },
    Plugin {
        running: Weak<Running>,
        held: Option<Detached>,
    },
}

/// Keeps a context whose exchange has ended.
pub(super) struct Late(Rc<Slot>);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.ended_late();
    }
}

impl Listener {
    /// What comes to the plugin context waits for its share of the worker.
    pub async fn hear(&self, event: &Event<'_>) {
        match self {
            Listener::Exchange { late: Some(Late(slot)), .. } => slot.deliver_late(event),
            Listener::Exchange { slot, side, late: None } => {
                if let Some(slot) = slot.upgrade() {
                    slot.deliver(*side, event);
                }
            }
            Listener::Plugin { running, held } => {
                let Some(background) = running.upgrade().map(|running| running.background.clone()) else { return };
                let delayed = || running.upgrade().iter().for_each(|running| running.delayed());
                let _turn = background.turn(delayed).await;
                if let Some(running) = running.upgrade() {
                    running.deliver(event, held.is_some());
                }
            }
        }
    }
}

impl Seat {
    /// Runs `work` beside the exchange; its end is told under `token`.
    pub(super) fn spawn(&self, token: Token, work: impl Future<Output = Ended> + 'static) {
        self.start(|told| async move {
            let ended = work.await;
            told.hear(&ended.event(token)).await;
        });
    }

    /// Runs what `work` makes of its listener, as long as the exchange or, in phase log, the context.
    pub(super) fn start<W: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Listener) -> W) -> AbortHandle {
        match &self.home {
            Home::Exchange { slot, .. } => {
                let upgraded = slot.upgrade();
                let late = upgraded.clone().filter(|_| self.phase.get() == Phase::Log).map(Late::begin);
                let listener = Listener::Exchange { slot: slot.clone(), side: self.side(), late };
                let task = tokio::task::spawn_local(work(listener)).abort_handle();
                if let Some(slot) = upgraded {
                    slot.own(task.clone());
                }
                task
            }
            Home::Plugin { running, .. } => {
                let held = self.holds_drain.get().then(|| self.surroundings.worker().map(|worker| worker.detach()));
                let listener = Listener::Plugin { running: running.borrow().clone(), held: held.flatten() };
                tokio::task::spawn_local(work(listener)).abort_handle()
            }
        }
    }
}

impl Late {
    fn begin(slot: Rc<Slot>) -> Late {
        slot.expect_late();
        Late(slot)
    }
}

impl Ended {
    fn event(&self, token: Token) -> Event<'_> {
        match self {
            Ended::Callout(result) => Event::Callout { token, result },
            Ended::Timer => Event::Timer { token },
            Ended::Reply(reply) => Event::Reply { token, reply },
        }
    }
}
