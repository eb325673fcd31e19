//! The three addresses of a run.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub edge: u16,
    pub admin: u16,
    pub aggregator: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// 8080 for requests, 9901 for the edge's admin, 9902 for the aggregator
    #[default]
    Fixed,
    /// Free ones from the system
    Auto,
}

impl Ports {
    const FIXED: Ports = Ports { edge: 8080, admin: 9901, aggregator: 9902 };

    pub fn choose(choice: Choice) -> anyhow::Result<Ports> {
        match choice {
            Choice::Fixed => Ports::FIXED.free(),
            Choice::Auto => {
                // Held together, so that the three differ.
                let listeners = [0; 3].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
                let mut ports = [0; 3];
                for (port, listener) in ports.iter_mut().zip(listeners) {
                    *port = listener.context("no free port on 127.0.0.1")?.local_addr()?.port();
                }
                let [edge, admin, aggregator] = ports;
                Ok(Ports { edge, admin, aggregator })
            }
        }
    }

    /// Said before anything is built or started.
    fn free(self) -> anyhow::Result<Ports> {
        for (port, what) in [(self.edge, "the edge"), (self.admin, "its admin"), (self.aggregator, "the aggregator")] {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                bail!(
                    "127.0.0.1:{port}, for {what}, cannot be had: {error}\n\
                     end what listens there (`ss -ltnp 'sport = :{port}'` names it), or let the system \
                     choose: forebay quickstart --ports auto"
                );
            }
        }
        Ok(self)
    }

    pub fn edge(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.edge).into()
    }

    pub fn admin(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.admin).into()
    }

    pub fn aggregator(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.aggregator).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_from_each_other() {
        let ports = Ports::choose(Choice::Auto).unwrap();
        assert!(ports.edge != ports.admin && ports.admin != ports.aggregator && ports.edge != ports.aggregator);
    }

    #[test]
    fn a_port_in_use_is_named_with_the_way_out() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let free = Ports::choose(Choice::Auto).unwrap();
        let error = Ports { admin: port, ..free }.free().unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}, for its admin")), "{error}");
        assert!(error.contains("--ports auto"), "{error}");
    }
}
