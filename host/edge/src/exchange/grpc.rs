//! The gRPC calls and streams of one plugin: granted and counted as callouts are, and ended with what has
//! started them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use abi::{Answer, Call, Event, GrpcRequest, Limit, Refusal, Status, Token};
use tokio::task::AbortHandle;

use super::seat::{Home, Seat};
use crate::callout::grpc::{self, Outgoing};

/// What has begun and not ended.
#[derive(Default)]
pub struct Grpcs(RefCell<HashMap<Token, Open>>);

struct Open {
    outgoing: Rc<Outgoing>,
    task: Option<AbortHandle>,
    stream: bool,
}

impl Grpcs {
    fn outgoing(&self, token: Token) -> Answer<(Rc<Outgoing>, bool)> {
        let all = self.0.borrow();
        all.get(&token).map(|open| (open.outgoing.clone(), open.stream)).ok_or_else(unknown)
    }

    fn cancel(&self, token: Token) -> Answer<()> {
        let open = self.0.borrow_mut().remove(&token).ok_or_else(unknown)?;
        open.outgoing.cancel();
        if let Some(task) = open.task {
            task.abort();
        }
        Ok(())
    }
}

fn unknown() -> Refusal {
    Refusal::new(Status::NotFound, "no gRPC call or stream of that number is open")
}

/// Takes it from the list, however it ends.
struct Listed(Rc<Grpcs>, Token);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.0.borrow_mut().remove(&self.1);
    }
}

impl Seat {
    pub(super) fn start_grpc(&self, upstream: &str, mut request: GrpcRequest) -> Answer<Token> {
        let settings = &self.bound.settings;
        let worker = self.surroundings.worker();
        let worker = worker.ok_or_else(|| Refusal::new(Status::Unavailable, "grpc.call: no worker runs here"))?;
        let snapshot = worker.snapshot();
        let target = grpc::name(&snapshot, upstream)?;
        Call::GrpcCall.check_named(&settings.capabilities, target)?;
        self.spend_callout(Call::GrpcCall)?;
        self.room_for_grpc()?;
        self.trace_callout(&mut request.metadata);
        let (most, stream) = (settings.limits.backstop().buffer, request.message.is_none());
        let (prepared, outgoing) = grpc::prepare(&worker, target, request, most, &self.bound.secrets)?;
        let token = self.surroundings.next_token();
        let listed = Listed(self.grpcs.clone(), token);
        self.grpcs.0.borrow_mut().insert(token, Open { outgoing, task: None, stream });
        let task = self.start(|told| async move {
            let _listed = listed;
            prepared.run(async |event| told.hear(&Event::Grpc { token, event }).await).await;
        });
        if let Some(open) = self.grpcs.0.borrow_mut().get_mut(&token) {
            open.task = Some(task);
        }
        Ok(token)
    }

    /// An exchange has a number of callouts; what has no end of its own has so many at once.
    fn room_for_grpc(&self) -> Answer<()> {
        let (open, most) = (self.grpcs.0.borrow().len(), self.bound.settings.limits.callouts);
        if matches!(self.home, Home::Plugin { .. }) && !self.may(Limit::Callouts, open as u64 + 1, most.into()) {
            let text = format!("grpc.call: {open} calls and streams are open (allowed: {most}, the limit callouts)");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        Ok(())
    }

    pub(super) fn send_grpc(&self, token: Token, message: &[u8], end: bool) -> Answer<()> {
        let (outgoing, stream) = self.grpcs.outgoing(token)?;
        if !stream {
            return Err(Refusal::new(Status::BadArgument, "that is a gRPC call, which has its one message"));
        }
        outgoing.push(message, end)
    }

    pub(super) fn close_grpc(&self, token: Token) -> Answer<()> {
        let (outgoing, stream) = self.grpcs.outgoing(token)?;
        if !stream {
            return self.grpcs.cancel(token);
        }
        outgoing.end();
        Ok(())
    }

    pub(super) fn cancel_grpc(&self, token: Token) -> Answer<()> {
        self.grpcs.cancel(token)
    }
}
