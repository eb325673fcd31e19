//! What one process runs: the edge, the aggregator or both, as the region file says.

use std::net::SocketAddr;
use std::sync::Arc;

use config::Region;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::region::Unfit;
use crate::scripts::Scripts;

pub struct Running {
    edge: Option<edge::Edge>,
    aggregator: Option<aggregator::Aggregator>,
    /// Beside an aggregator.
    scripts: Option<Arc<Scripts>>,
    self_test: bool,
}

/// Each exchange takes two open files, and the usual soft limit of 1024 is soon reached: takes
/// what the hard limit allows. Serving goes on with less.
pub fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it was"),
    }
}

/// Makes this process's metrics readable; before anything else counts.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let durations = Matcher::Suffix(edge::telemetry::HISTOGRAM_SUFFIX.into());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, edge::telemetry::buckets())?;
    let handle = builder.install_recorder()?;
    edge::telemetry::describe();
    Ok(handle)
}

/// The aggregator, and who runs scripts for it.
fn aggregate(
    region: &Arc<Region>,
    metrics: &PrometheusHandle,
) -> Result<(aggregator::Aggregator, Arc<Scripts>), Unfit> {
    let scripts = Arc::new(Scripts::start(region)?);
    let (metrics, of_scripts) = (metrics.clone(), scripts.clone());
    let render: aggregator::Render = Arc::new(move || metrics.render() + &of_scripts.render());
    let asked: Arc<dyn aggregator::scripts::Scripts> = scripts.clone();
    let options = aggregator::Options { metrics: Some(render), scripts: Some(asked) };
    Ok((aggregator::start_with(region.clone(), options).map_err(Unfit::one)?, scripts))
}

impl Running {
    pub fn start(region: &Arc<Region>, metrics: &PrometheusHandle) -> Result<Running, Unfit> {
        Running::begin(region, metrics, true)
    }

    /// Without the self-tests of plugins, now and at a reload: for one that is being written.
    pub fn start_untested(region: &Arc<Region>, metrics: &PrometheusHandle) -> Result<Running, Unfit> {
        Running::begin(region, metrics, false)
    }

    /// The aggregator first: an edge that starts beside it finds it there with its first report.
    fn begin(region: &Arc<Region>, metrics: &PrometheusHandle, self_test: bool) -> Result<Running, Unfit> {
        if region.edge.is_none() && region.aggregator.is_none() {
            return Err(Unfit::one("the file has neither `edge` nor `aggregator`: nothing to run"));
        }
        // Before the aggregator starts origins for it.
        let has_plugins = region.edge.is_some() || region.scripts().next().is_some();
        if has_plugins && self_test {
            edge::Edge::check(region).map_err(Unfit::from)?;
        }
        let (aggregator, scripts) = match region.aggregator {
            Some(_) => {
                let (aggregator, scripts) = aggregate(region, metrics)?;
                (Some(aggregator), Some(scripts))
            }
            None => (None, None),
        };
        let options = edge::Options { metrics: metrics.clone(), self_test };
        let edge = match region.edge {
            Some(_) => edge::Edge::start(region.clone(), options).map(Some),
            None => Ok(None),
        };
        match edge {
            Ok(edge) => Ok(Running { edge, aggregator, scripts, self_test }),
            Err(error) => {
                if let Some(aggregator) = aggregator {
                    aggregator.stop();
                }
                Err(error.into())
            }
        }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.edge.as_ref().map(edge::Edge::addresses).unwrap_or_default()
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.edge.as_ref().and_then(edge::Edge::admin_address)
    }

    /// Taken whole or refused; whoever refuses serves on with what it had.
    pub fn reload(&self, region: &Arc<Region>) -> Result<(), Unfit> {
        for (section, runs, wanted) in [
            ("edge", self.edge.is_some(), region.edge.is_some()),
            ("aggregator", self.aggregator.is_some(), region.aggregator.is_some()),
        ] {
            if runs != wanted {
                let change = if wanted { "is new" } else { "is gone" };
                return Err(Unfit::one(format!("`{section}` {change} in the file: that takes a restart")));
            }
        }
        if let (Some(running), Some(wanted)) = (&self.aggregator, &region.aggregator)
            && wanted.address.port() != 0
            && wanted.address != running.address()
        {
            let (from, to) = (running.address(), wanted.address);
            return Err(Unfit::one(format!("aggregator.address changed from {from} to {to}: that takes a restart")));
        }
        // What scripts will be, before anything has changed; an edge tests what is new of its own.
        let test = self.self_test && self.edge.is_none();
        let prepared = self.scripts.as_ref().map(|scripts| Ok((scripts, scripts.prepare(region, test)?)));
        let prepared = prepared.transpose().map_err(|error: edge::StartError| Unfit::from(error))?;
        // The edge first: it has more that can be refused (plugins), and then nothing has changed.
        if let Some(edge) = &self.edge {
            edge.reload(region.clone()).map_err(Unfit::from)?;
        }
        if let Some(aggregator) = &self.aggregator {
            aggregator.reload(region.clone()).map_err(Unfit::one)?;
        }
        if let Some((scripts, prepared)) = prepared {
            scripts.take(prepared);
        }
        Ok(())
    }

    /// The edge lets its exchanges end, then the aggregator stops; the origins that it started
    /// stay up for the one that comes next. The number of exchanges that were cut off.
    pub fn drain(self) -> usize {
        let cut_off = self.edge.map_or(0, edge::Edge::drain);
        if let Some(aggregator) = self.aggregator {
            aggregator.stop();
        }
        cut_off
    }

    /// The same, and the origins are ended too.
    pub fn release(self) {
        self.edge.map(edge::Edge::drain);
        if let Some(aggregator) = self.aggregator {
            aggregator.stop_and_release();
        }
    }
}
