//! Measures the peak memory of each service, and compares it with its limit in docker-compose.yml.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::child_process::ChildProcess;
use serde::Serialize;
use servers::{Memory, Process};
use tokio::task::JoinSet;
use tokio::time::sleep;

const COMPOSE: &str = include_str!("../../../../docker-compose.yml");
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The peak of one service, over all copies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peak {
    pub service: &'static str,
    pub rss_mb: f64,
    pub pss_mb: f64,
    /// The memory limit of its container.
    pub limit_mb: f64,
}

impl Peak {
    pub fn is_too_much(&self) -> bool {
        self.rss_mb > self.limit_mb
    }
}

/// Samples until it is dropped.
pub struct Scales {
    peaks: Arc<Mutex<BTreeMap<&'static str, Memory>>>,
    _looking: JoinSet<()>,
}

impl Scales {
    pub fn start(parts: &[ChildProcess]) -> Self {
        let peaks = Arc::new(Mutex::default());
        let files: Vec<_> =
            parts.iter().map(|part| (part.service.name, part.service.pid_file())).collect();
        let mut looking = JoinSet::new();
        looking.spawn(look(files, Arc::clone(&peaks)));
        Self { peaks, _looking: looking }
    }

    pub fn peaks(&self) -> Vec<Peak> {
        let peaks = self.peaks.lock().unwrap_or_else(PoisonError::into_inner);
        let peak = |(service, Memory { rss_kb, pss_kb }): (&&'static str, &Memory)| {
            let [rss_mb, pss_mb] = [*rss_kb, *pss_kb].map(|kb| kb as f64 / 1024.0);
            Peak { service, rss_mb, pss_mb, limit_mb: limit_mb(service) }
        };
        peaks.iter().map(peak).collect()
    }
}

/// A restarted copy has another process under the same pid file.
async fn look(
    files: Vec<(&'static str, PathBuf)>,
    peaks: Arc<Mutex<BTreeMap<&'static str, Memory>>>,
) {
    loop {
        for (service, file) in &files {
            let memory = Process::recorded(file).and_then(|process| process.own_memory());
            let Some(Memory { rss_kb, pss_kb }) = memory else { continue };
            let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
            let peak = peaks.entry(service).or_default();
            peak.rss_kb = peak.rss_kb.max(rss_kb);
            peak.pss_kb = peak.pss_kb.max(pss_kb);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The service's own limit, else that of all services.
fn limit_mb(service: &str) -> f64 {
    let limit = |block: &str| {
        let lines = COMPOSE.lines().skip_while(|line| line.trim_end() != block).skip(1);
        let depth = block.len() - block.trim_start().len();
        let is_inside =
            |line: &&str| line.trim().is_empty() || line.starts_with(&" ".repeat(depth + 1));
        let limit =
            lines.take_while(is_inside).find_map(|line| line.trim().strip_prefix("mem_limit: "));
        limit.and_then(megabytes)
    };
    limit(&format!("  {service}:"))
        .or_else(|| limit("x-service: &service"))
        .expect("docker-compose.yml limits the memory of every service")
}

fn megabytes(limit: &str) -> Option<f64> {
    let number = limit.trim_end_matches(['m', 'g']);
    let factor = if limit.ends_with('g') { 1024.0 } else { 1.0 };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::settings::SERVICES;

    #[test]
    fn every_service_has_the_limit_of_its_container() {
        for service in SERVICES {
            assert!((64.0..=1024.0).contains(&limit_mb(service)), "{service}");
        }
        // This service has a limit of its own.
        assert_eq!(limit_mb("rabbitmq"), 1024.0);
        assert_eq!((megabytes("256m"), megabytes("2g")), (Some(256.0), Some(2048.0)));
    }
}
