//! From a 101 on: bytes both ways until either side closes.

use std::rc::Rc;

use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::body::Body;
use crate::origin::client::Tunnel;
use crate::reject::Reject;
use crate::serve::Client;
use crate::serve::exit::Finish;
use crate::serve::forward;

/// Whether a request asks for an upgrade that is passed on. `h2c` is not: a tunnel of HTTP/2
/// would carry requests around the routes.
pub(crate) fn asked(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && headers
            .get(header::UPGRADE)
            .is_some_and(|protocol| !forward::tokens(protocol).any(|token| token.eq_ignore_ascii_case(b"h2c")))
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| forward::tokens(value).any(|token| token.eq_ignore_ascii_case(b"upgrade")))
        && request.body().is_end_stream()
}

/// Answers the 101 and couples both connections in a task of their own, which ends the exchange.
pub(crate) fn switch(
    response: Response<Body>,
    waiting: Option<OnUpgrade>,
    client: &Rc<Client>,
    finish: &mut Finish,
) -> Result<Response<Body>, Reject> {
    let (mut parts, body) = response.into_parts();
    // Behind plugins the tunnel is inside the body that tells them of the exchange's end.
    let (tunnel, told) = match body {
        Body::Tunnel(tunnel) => (Some(tunnel), Body::Empty),
        Body::Chain(mut chain) => (chain.take_tunnel(), Body::Chain(chain)),
        _ => (None, Body::Empty),
    };
    let (Some(tunnel), Some(waiting)) = (tunnel, waiting) else {
        return Err(Reject::OriginBroken {
            pool: finish.pool(),
            detail: "101 to a request that asked for no upgrade".into(),
            reset: None,
        });
    };
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    forward::response(&mut parts.headers);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.extend(protocol.map(|protocol| (header::UPGRADE, protocol)));
    parts.headers.remove(header::CONTENT_LENGTH);
    client.tap.leave_http();
    finish.status(parts.status.as_u16());
    let finish = finish.take();
    tokio::task::spawn_local(couple(*tunnel, waiting, finish, told));
    Ok(Response::from_parts(parts, Body::Empty))
}

async fn couple(tunnel: Tunnel, waiting: OnUpgrade, mut finish: Finish, told: Body) {
    let Tunnel { mut io, early, exchange } = tunnel;
    let Ok(upgraded) = waiting.await else { return };
    let mut upgraded = TokioIo::new(upgraded);
    let copied = async {
        upgraded.write_all(&early).await?;
        tokio::io::copy_bidirectional(&mut upgraded, &mut io).await
    };
    match copied.await {
        Ok((received, sent)) => finish.tunneled(received, sent + early.len() as u64),
        Err(error) => {
            tracing::debug!(%error, "tunnel ended");
            finish.tunneled(0, early.len() as u64);
        }
    }
    drop((exchange, told));
}
