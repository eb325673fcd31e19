//! The callouts of one plugin: granted by target, counted, started.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use abi::{
    Answer, Call, Callout, CalloutError, CalloutRequest, CalloutResponse, Fault, Limit, Refusal, Status, Token, Value,
    Verdict,
};

use super::seat::{Home, Seat};
use crate::callout::{self, Ended};

type Ending = Result<CalloutResponse, CalloutError>;

/// One of several that run at once.
enum One {
    Running(Pin<Box<dyn Future<Output = Ending>>>),
    Ended(Value),
}

impl Seat {
    pub(super) fn start_callout(&self, target: &str, request: CalloutRequest) -> Answer<Token> {
        let work = self.callout_work(Call::HttpCall, target, request)?;
        let token = self.surroundings.next_token();
        self.spawn(token, async move { Ended::Callout(work.await) });
        Ok(token)
    }

    /// One that is refused is an entry of the list like one that fails.
    pub(super) fn start_callouts(&self, callouts: Vec<Callout>) -> Answer<Token> {
        let (given, most) = (callouts.len(), self.bound.settings.limits.backstop().callouts);
        if given > most as usize {
            let text = format!("http.call_all: {given} callouts at once (allowed: {most}, the limit callouts)");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        let start = |Callout { target, request }| match self.callout_work(Call::HttpCallAll, &target, request) {
            Ok(work) => One::Running(Box::pin(work)),
            Err(refusal) => One::Ended(failure(refusal.status, &refusal.message)),
        };
        let mut all: Vec<One> = callouts.into_iter().map(start).collect();
        let token = self.surroundings.next_token();
        self.spawn(token, async move {
            let ended = poll_fn(|cx| {
                for one in &mut all {
                    if let One::Running(work) = one
                        && let Poll::Ready(ending) = work.as_mut().poll(cx)
                    {
                        *one = One::Ended(told(ending));
                    }
                }
                if all.iter().any(|one| matches!(one, One::Running(_))) { Poll::Pending } else { Poll::Ready(()) }
            });
            ended.await;
            let values = all.into_iter().map(|one| if let One::Ended(value) = one { value } else { Value::Nil });
            Ended::Reply(Ok(Value::List(values.collect())))
        });
        Ok(token)
    }

    /// Counts one of the exchange; one too many ends it.
    pub(super) fn spend_callout(&self, call: Call) -> Answer<()> {
        let most = self.bound.settings.limits.callouts;
        if matches!(self.home, Home::Plugin { .. }) {
            return Ok(());
        }
        self.callouts.set(self.callouts.get() + 1);
        if self.may(Limit::Callouts, self.callouts.get().into(), most.into()) {
            return Ok(());
        }
        let text = format!("{}: more than {most} callouts in one exchange (limit callouts)", call.row().lua);
        *self.overstepped.borrow_mut() = Some(Fault::new(Verdict::Callout, text.clone()));
        Err(Refusal::new(Status::LimitExceeded, text))
    }

    /// Checks the grant of its target, counts it, and gives its work.
    fn callout_work(
        &self,
        call: Call,
        target: &str,
        mut request: CalloutRequest,
    ) -> Answer<impl Future<Output = Ending> + use<>> {
        let settings = &self.bound.settings;
        call.check_named(&settings.capabilities, target)?;
        self.spend_callout(call)?;
        let worker = self.surroundings.worker();
        let worker = worker.ok_or_else(|| Refusal::new(Status::Unavailable, "http.call: no worker runs here"))?;
        self.trace_callout(&mut request.headers);
        callout::start(&worker, target, request, settings.limits.backstop().buffer, &self.bound.secrets)
    }
}

/// One ending as an entry of the list: see `abi::Host::callout_all`.
fn told(ending: Ending) -> Value {
    let response = match ending {
        Ok(response) => response,
        Err(CalloutError::Timeout) => return failure(Status::Timeout, "http.call_all: no response in time"),
        Err(CalloutError::Unavailable(why)) => return failure(Status::Unavailable, &why),
        Err(CalloutError::TooLarge) => {
            let text = "http.call_all: the response is larger than the plugin's buffer limit";
            return failure(Status::LimitExceeded, text);
        }
    };
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let headers = response.headers.iter().map(|(name, value)| Value::List(vec![bytes(name), bytes(value)]));
    Value::List(vec![Value::Int(response.status.into()), Value::List(headers.collect()), bytes(&response.body)])
}

fn failure(status: Status, message: &str) -> Value {
    let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    Value::List(vec![text(status.name()), text(message), Value::Int(status as i64)])
}
