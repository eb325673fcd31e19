//! The end of an exchange as one plugin sees it: `on_done`, `on_log`, and what it still waits for
//! then. Nobody is kept waiting by that: the client has its answer, and only the plugin's context
//! (and a drain of the edge) outlives the exchange.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use abi::{Action, Callbacks, Event, Fault, Phase, Verdict};

use super::slot::{Slot, report};

impl Slot {
    /// The exchange has ended: its callouts and timers end, `on_done` and `on_log` are told, and the
    /// context closes when what these started has ended too.
    pub fn finish(self: &Rc<Slot>) {
        self.drop_tasks();
        self.prove();
        // What was being pulled holds the chain, which holds this slot.
        self.stages.iter().for_each(|stage| drop(stage.pulling.take()));
        // What a plugin answers now changes nothing any more; its fault has been reported.
        let held = self.has(Callbacks::DONE) && matches!(self.call(Phase::Log, &Event::Done), Ok(Action::Pause));
        if !held {
            self.log();
            if self.late.get() == 0 {
                return self.close();
            }
        }
        let slot = self.clone();
        let detached = self.exchange().worker.detach();
        tokio::task::spawn_local(async move {
            slot.linger(held).await;
            drop(detached);
        });
    }

    /// The end of the exchange has started something that the context is told of.
    pub fn expect_late(&self) {
        self.late.set(self.late.get() + 1);
    }

    /// Something that the end of the exchange has started has brought this.
    pub fn deliver_late(&self, event: &Event<'_>) {
        if !self.is_off() {
            let _ = self.call(Phase::Log, event);
        }
    }

    /// It has ended, and been told (which may have started more).
    pub fn ended_late(&self) {
        self.late.set(self.late.get() - 1);
        self.exchange().wake();
    }

    fn log(&self) {
        if self.has(Callbacks::LOG) {
            let _ = self.call(Phase::Log, &Event::Log);
        }
    }

    /// Waits for the plugin, no longer than its wall time, then closes the context. Earlier where its instance is
    /// the exchange's own and another exchange has got its place: one that waits for an answer comes first.
    async fn linger(&self, held: bool) {
        let limit = self.bound().settings.limits.wall;
        let ended = async {
            if held {
                self.until(|| self.released()).await;
                self.log();
            }
            self.until(|| self.late.get() == 0).await;
        };
        let began = crate::clock::now();
        let held = self.gives_way();
        let taken = async {
            match held {
                Some(held) => held.taken().await,
                None => std::future::pending().await,
            }
        };
        let text = tokio::select! {
            biased;
            ended = crate::clock::timeout(limit, ended) => match ended {
                Ok(()) => None,
                Err(_) => Some(format!("waited for {limit:?} after the end of the exchange (limit wall)")),
            },
            () = taken => {
                let waited = crate::clock::now().saturating_duration_since(began);
                Some(format!(
                    "waited for {waited:.1?} after the end of the exchange, and another exchange needs its room \
                     (limit instances)"
                ))
            }
        };
        if let Some(text) = text {
            report(&self.role, self.exchange(), &Fault::new(Verdict::Wall, text), "on_log");
        }
        self.close();
    }

    /// Until that holds, or the plugin has failed, or its instance has ended.
    async fn until(&self, holds: impl Fn() -> bool) {
        poll_fn(|cx| {
            if self.is_off() || self.orphaned().is_some() || holds() {
                return Poll::Ready(());
            }
            self.exchange().watch(cx);
            Poll::Pending
        })
        .await;
    }
}
