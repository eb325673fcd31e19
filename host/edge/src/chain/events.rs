//! A response that is an event stream, on its way through a plugin that is told of its events: cut into
//! pieces, each event told by itself, everything else passed on as it came.

use std::rc::Rc;

use abi::{Action, Callbacks, Event, Phase, ServerEvent, Side};
use bytes::Bytes;

use super::Chain;
use super::lane::{Item, wait};
use super::slot::{Slot, Stage};
use crate::event_stream::{self, Piece};
use crate::exchange::Stop;

pub enum Next {
    /// This goes on.
    Item(Item),
    /// The plugin was told, and has let go on what it did.
    Told,
    /// More input is needed, or the slot is told of no events.
    Nothing,
}

/// Has the slot told of events, if it listens and the response has any.
pub fn begin(chain: &Chain, slot: &Slot) {
    let stage = slot.stage(Side::Response);
    let response = chain.exchange.response.borrow();
    let streams = response.as_ref().is_some_and(|response| event_stream::is_event_stream(&response.headers));
    if streams && slot.has(Callbacks::RESPONSE_EVENT) && !stage.chunks.get() && !stage.drained.get() {
        stage.framer.replace(Some(Box::default()));
    }
}

/// Whether the slot is told of events: then the bytes are its framer's.
pub fn takes(stage: &Stage, bytes: &[u8], end: bool) -> bool {
    let mut framer = stage.framer.borrow_mut();
    let Some(framer) = &mut *framer else { return false };
    framer.push(bytes);
    if end {
        framer.finish();
    }
    true
}

/// The next piece of the slot's stream.
pub async fn next(chain: &Rc<Chain>, slot: &Rc<Slot>, side: Side) -> Result<Next, Stop> {
    let (piece, held) = match &mut *slot.stage(side).framer.borrow_mut() {
        Some(framer) => (framer.next_piece(), framer.held()),
        None => return Ok(Next::Nothing),
    };
    match piece {
        Some(Piece::Other(bytes)) => Ok(Next::Item(Item::Data { bytes, end: false })),
        Some(Piece::Event(raw, event)) => {
            slot.holds(side, raw.len())?;
            tell(chain, slot, side, raw, &event).await.map(|()| Next::Told)
        }
        None => slot.holds(side, held).map(|()| Next::Nothing),
    }
}

async fn tell(chain: &Rc<Chain>, slot: &Rc<Slot>, side: Side, raw: Bytes, event: &ServerEvent) -> Result<(), Stop> {
    let window = slot.window(side);
    window.push(raw);
    window.open.set(true);
    window.event.set(true);
    let mut action = slot.call(Phase::Response, &Event::ResponseEvent(event))?;
    while action != Action::Continue {
        action = wait(slot, side, chain).await?;
    }
    slot.stage(side).queue_data(window.take(), false);
    Ok(())
}
