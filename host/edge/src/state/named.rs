//! Things by name, made when first asked for, found without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

type All<T> = HashMap<Arc<str>, Arc<T>>;

/// Names come from the configuration or are counted by who asks: there is no end of none.
pub struct Named<T>(ArcSwap<All<T>>);

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named(ArcSwap::from_pointee(HashMap::new()))
    }
}

impl<T> Named<T> {
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        self.0.load().get(name).cloned()
    }

    /// The one of that name; of two that are made at once, one stays.
    pub fn get_or(&self, name: &str, make: impl Fn() -> T) -> Arc<T> {
        if let Some(known) = self.get(name) {
            return known;
        }
        let made = Arc::new(make());
        self.0.rcu(|all| {
            let mut all = All::clone(all);
            all.entry(name.into()).or_insert_with(|| made.clone());
            all
        });
        self.get(name).unwrap_or(made)
    }

    /// Holds exactly these from now on.
    pub fn replace(&self, all: impl IntoIterator<Item = (Arc<str>, Arc<T>)>) {
        self.0.store(Arc::new(all.into_iter().collect()));
    }

    pub fn all(&self) -> Guard<Arc<All<T>>> {
        self.0.load()
    }
}
