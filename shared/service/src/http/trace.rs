//! Reads the trace context of a client's request.

use axum::http::HeaderMap;
use telemetry::TraceParent;

/// The caller's W3C `traceparent`, if it is valid.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let valid: TraceParent = text.parse().ok()?;
    Some(valid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_is_gone_on_with() {
        let of = |text: &str| {
            traceparent(&HeaderMap::from_iter([(
                "traceparent".parse().unwrap(),
                text.parse().unwrap(),
            )]))
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good).as_deref(), Some(good));
        assert_eq!(of(""), None);
        assert_eq!(of(&good.replace("00-", "ff-")), None);
    }
}
