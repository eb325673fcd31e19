//! What a later run shall know of an origin, written into its record.

use std::net::SocketAddr;

use jiff::Timestamp;

use super::Process;
use super::origin::Origin;

impl Process {
    /// These are in the warm pool, and no others: a later run shall know.
    pub fn note_parked(&mut self, parked: &[SocketAddr]) {
        let other = |origin: &Origin| origin.record.parked != parked.contains(&origin.record.address);
        if !self.adopted || !self.origins.iter().any(other) {
            return;
        }
        let Some(_entry) = self.enter() else { return };
        let mut origins = std::mem::take(&mut self.origins);
        for origin in origins.iter_mut().filter(|origin| other(origin)) {
            origin.record.parked = !origin.record.parked;
            self.save(&origin.record);
        }
        self.origins = origins;
    }

    /// Of these somebody has said that they are going: a later run shall know.
    pub fn note_leaving(&mut self, leaving: &[(SocketAddr, String)]) {
        let news = |origin: &Origin| {
            let told = leaving.iter().find(|(address, _)| *address == origin.record.address);
            told.map(|(_, because)| because).filter(|because| origin.record.leaving.as_ref() != Some(because)).cloned()
        };
        if !self.adopted || !self.origins.iter().any(|origin| news(origin).is_some()) {
            return;
        }
        let Some(_entry) = self.enter() else { return };
        let mut origins = std::mem::take(&mut self.origins);
        for origin in &mut origins {
            if let Some(because) = news(origin) {
                origin.record.leaving = Some(because);
                self.save(&origin.record);
            }
        }
        self.origins = origins;
    }

    pub fn note_serving(&mut self, address: SocketAddr, at: Timestamp) {
        if !self.adopted {
            return;
        }
        let Some(_entry) = self.enter() else { return };
        let found = self.origins.iter_mut().find(|origin| origin.record.address == address);
        if let Some(origin) = found.filter(|origin| origin.record.serving_at.is_none()) {
            origin.record.serving_at = Some(at);
            let record = origin.record.clone();
            self.save(&record);
        }
    }
}
