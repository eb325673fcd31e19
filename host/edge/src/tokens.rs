//! Leases: tokens that a plugin has reserved before it knows what it will use. They are taken from
//! their bucket at once. A commit settles to what was really used, a release gives all back, and
//! one that is still open when its context ends stays taken as it was reserved.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use abi::{Answer, LeaseId, Refusal, Status};

use crate::limit::{Bucket, End};

/// Open at once, of one context.
const MOST_OPEN: usize = 64;

/// The open leases of one context.
#[derive(Default)]
pub struct Leases {
    open: RefCell<Vec<Lease>>,
    last: Cell<u32>,
}

struct Lease {
    id: LeaseId,
    bucket: Arc<Bucket>,
    key: Box<[u8]>,
    tokens: u32,
}

impl Leases {
    pub fn reserve(&self, bucket: Arc<Bucket>, key: &[u8], tokens: u32, now: Duration) -> Answer<LeaseId> {
        let call = "tokens.reserve";
        let mut open = self.open.borrow_mut();
        if open.len() >= MOST_OPEN {
            let text = format!("{call}: {MOST_OPEN} leases are open here already: commit or release them");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        let taken = bucket.take(call, key, tokens, now)?;
        if !taken.allowed {
            let (name, burst) = (&bucket.name, bucket.terms.burst);
            let (left, wait) = (taken.remaining, taken.retry_after.as_secs_f64());
            let text = format!(
                "{call}: {tokens} tokens of bucket {name:?}, which has {left} of {burst}; retry after {wait:.3}s"
            );
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        self.last.set(self.last.get().wrapping_add(1));
        let id = LeaseId(self.last.get());
        open.push(Lease { id, bucket, key: key.into(), tokens });
        Ok(id)
    }

    /// Settles to what was used: less gives back, more takes on.
    pub fn commit(&self, id: LeaseId, used: u32, now: Duration) -> Answer<()> {
        let lease = self.close("lease.commit", id)?;
        if used < lease.tokens {
            lease.bucket.give(&lease.key, lease.tokens - used);
        } else if used > lease.tokens {
            lease.bucket.owe(&lease.key, used - lease.tokens, now);
        }
        lease.bucket.ended(End::Committed);
        Ok(())
    }

    pub fn release(&self, id: LeaseId) -> Answer<()> {
        let lease = self.close("lease.release", id)?;
        lease.bucket.give(&lease.key, lease.tokens);
        lease.bucket.ended(End::Released);
        Ok(())
    }

    /// Each lease ends once.
    fn close(&self, call: &str, id: LeaseId) -> Answer<Lease> {
        let mut open = self.open.borrow_mut();
        match open.iter().position(|lease| lease.id == id) {
            Some(at) => Ok(open.swap_remove(at)),
            None => {
                let text =
                    format!("{call}: this lease is not open here (each ends once, in the exchange that made it)");
                Err(Refusal::new(Status::NotFound, text))
            }
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.open.get_mut().iter().for_each(|lease| lease.bucket.ended(End::Left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(7);

    fn bucket(burst: u32) -> Arc<Bucket> {
        let terms = config::Bucket { rate: 1, per: Duration::from_secs(10), burst, keys: 10 };
        Arc::new(Bucket::new("b", terms))
    }

    fn left(bucket: &Bucket) -> u32 {
        bucket.take("limit.take", b"k", 0, T0).unwrap().remaining
    }

    #[test]
    fn a_lease_is_settled_to_what_was_used_and_ends_once() {
        let (bucket, leases) = (bucket(100), Leases::default());
        let less = leases.reserve(bucket.clone(), b"k", 30, T0).unwrap();
        let more = leases.reserve(bucket.clone(), b"k", 30, T0).unwrap();
        let none = leases.reserve(bucket.clone(), b"k", 30, T0).unwrap();
        assert_eq!(left(&bucket), 10);
        leases.commit(less, 12, T0).unwrap();
        assert_eq!(left(&bucket), 28);
        leases.commit(more, 35, T0).unwrap();
        assert_eq!(left(&bucket), 23);
        leases.release(none).unwrap();
        assert_eq!(left(&bucket), 53);
        for lease in [less, more, none, LeaseId(99)] {
            assert_eq!(leases.commit(lease, 0, T0).unwrap_err().status, Status::NotFound);
            assert_eq!(leases.release(lease).unwrap_err().status, Status::NotFound);
        }
        assert_eq!(left(&bucket), 53, "nothing was given back twice");
    }

    #[test]
    fn what_is_not_there_is_refused_with_when_it_will_be() {
        let (bucket, leases) = (bucket(10), Leases::default());
        leases.reserve(bucket.clone(), b"k", 8, T0).unwrap();
        let refused = leases.reserve(bucket.clone(), b"k", 4, T0).unwrap_err();
        assert_eq!(refused.status, Status::LimitExceeded);
        let wanted = "tokens.reserve: 4 tokens of bucket \"b\", which has 2 of 10; retry after 20.000s";
        assert_eq!(refused.message, wanted);
        assert!(leases.reserve(bucket, b"another", 4, T0).is_ok());
    }

    #[test]
    fn more_than_was_there_is_waited_for_by_those_that_come_next() {
        let (bucket, leases) = (bucket(10), Leases::default());
        let lease = leases.reserve(bucket.clone(), b"k", 10, T0).unwrap();
        leases.commit(lease, 13, T0).unwrap();
        let taken = bucket.take("limit.take", b"k", 1, T0).unwrap();
        assert_eq!((taken.allowed, taken.retry_after), (false, Duration::from_secs(40)));
    }

    #[test]
    fn an_open_lease_stays_taken_when_its_context_ends() {
        let (bucket, leases) = (bucket(10), Leases::default());
        let settled = leases.reserve(bucket.clone(), b"k", 3, T0).unwrap();
        leases.reserve(bucket.clone(), b"k", 4, T0).unwrap();
        leases.commit(settled, 1, T0).unwrap();
        drop(leases);
        assert_eq!(left(&bucket), 5);
    }

    #[test]
    fn a_context_has_a_bounded_number_of_open_leases() {
        let (bucket, leases) = (bucket(1000), Leases::default());
        let all: Vec<_> = (0..MOST_OPEN).map(|_| leases.reserve(bucket.clone(), b"k", 1, T0).unwrap()).collect();
        assert_eq!(leases.reserve(bucket.clone(), b"k", 1, T0).unwrap_err().status, Status::LimitExceeded);
        assert_eq!(left(&bucket), 1000 - MOST_OPEN as u32);
        leases.release(all[0]).unwrap();
        leases.reserve(bucket, b"k", 1, T0).unwrap();
    }
}
