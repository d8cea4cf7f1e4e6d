//! Defines the settings of HTTP, from the environment or the command line.

use super::{client::Proxies, hosts::Hosts, origins::Origins, server::Listen};
use std::{convert::Infallible, net::SocketAddr, path::PathBuf};

#[derive(clap::Args, Clone, Debug)]
pub struct HttpSettings {
    /// Where HTTP listens
    #[arg(long, env = "HTTP_ADDR", default_value = "127.0.0.1:3001", value_name = "HTTP_ADDR")]
    pub http_addr: SocketAddr,
    /// The certificate and its chain in PEM, for HTTPS instead of HTTP; read again when it changes
    #[arg(long, env = "HTTP_TLS_CERT_FILE", default_value = "", hide_default_value = true)]
    #[arg(value_name = "HTTP_TLS_CERT_FILE", value_parser = path)]
    pub tls_cert_file: PathBuf,
    /// Its private key in PEM
    #[arg(long, env = "HTTP_TLS_KEY_FILE", default_value = "", hide_default_value = true)]
    #[arg(value_name = "HTTP_TLS_KEY_FILE", value_parser = path)]
    pub tls_key_file: PathBuf,
    /// Host names of this service besides localhost and addresses, e.g.
    /// shop.example,*.shop.example; or * for any
    #[arg(long, env = "ALLOWED_HOSTS", default_value = "", value_name = "ALLOWED_HOSTS")]
    pub allowed_hosts: Hosts,
    /// Origins whose pages may use the API (CORS), e.g. https://shop.example,https://admin.example
    #[arg(long, env = "HTTP_CORS_ORIGINS", default_value = "", value_name = "HTTP_CORS_ORIGINS")]
    pub cors_origins: Origins,
    /// 1 logs each request: in the combined log format, or as JSON (LOG_FORMAT)
    #[arg(long, env = "HTTP_ACCESS_LOG", value_name = "HTTP_ACCESS_LOG", num_args = 0..=1)]
    #[arg(default_value = "0", default_missing_value = "1", hide_possible_values = true)]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub access_log: bool,
    /// Trusted proxies, whose X-Forwarded-For is used: addresses and networks, 10.0.0.0/8,fd00::/8
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", value_name = "TRUSTED_PROXIES")]
    pub trusted_proxies: Proxies,
    /// Requests a second that one client may send (by its key, else its address); 0 is no limit
    #[arg(long, env = "RATE_LIMIT", default_value = "0", value_name = "RATE_LIMIT")]
    pub rate_limit: u32,
    /// Maximum of open connections; one more closes an idle one
    #[arg(long, env = "HTTP_CONNECTIONS_MAX", default_value = "2048")]
    #[arg(value_name = "HTTP_CONNECTIONS_MAX", value_parser = clap::value_parser!(u32).range(16..))]
    pub connections_max: u32,
    /// Maximum of requests in flight; one more is answered 503
    #[arg(long, env = "HTTP_IN_FLIGHT_MAX", default_value = "1024")]
    #[arg(value_name = "HTTP_IN_FLIGHT_MAX", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight_max: u32,
    /// Maximum of open event streams; one more is answered 503
    #[arg(long, env = "HTTP_STREAMS_MAX", default_value = "1024")]
    #[arg(value_name = "HTTP_STREAMS_MAX", value_parser = clap::value_parser!(u32).range(1..))]
    pub streams_max: u32,
    /// Event streams that one client (by its key, else its address) may have open; one more is
    /// answered 429
    #[arg(long, env = "HTTP_STREAMS_PER_CLIENT", default_value = "256")]
    #[arg(value_name = "HTTP_STREAMS_PER_CLIENT", value_parser = clap::value_parser!(u32).range(1..))]
    pub streams_per_client: u32,
    /// Maximum of MiB for buffered requests, answers and events: half for requests, a quarter for
    /// answers, a quarter for streams
    #[arg(long, env = "HTTP_MEMORY_MIB", default_value = "64", value_name = "HTTP_MEMORY_MIB")]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=65536))]
    pub memory_mib: u32,
}

impl HttpSettings {
    pub fn listen(&self) -> Listen {
        let Self { http_addr, tls_cert_file, tls_key_file, .. } = self;
        let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
        Listen {
            address: *http_addr,
            connections_max: self.connections_max as usize,
            tls: (is_set(tls_cert_file) || is_set(tls_key_file)).then(|| https::Files {
                certificate: ("HTTP_TLS_CERT_FILE", tls_cert_file.clone()),
                key: ("HTTP_TLS_KEY_FILE", tls_key_file.clone()),
            }),
        }
    }

    pub(super) const fn request_bytes(&self) -> usize {
        self.memory_bytes() / 2
    }

    pub(super) const fn answer_bytes(&self) -> usize {
        self.memory_bytes() / 4
    }

    pub const fn stream_bytes(&self) -> usize {
        self.memory_bytes() / 4
    }

    const fn memory_bytes(&self) -> usize {
        (self.memory_mib as usize) << 20
    }
}

/// Empty is none.
fn path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}
