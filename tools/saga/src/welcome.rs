//! Prints the addresses and the first commands once everything runs.

use std::time::Duration;

use kit::say;

use crate::urls::Urls;

const FIRST_ORDER: &str = r#"  curl -i URL -H 'Content-Type: application/json' -d '{
    "customer_id": "123e4567-e89b-12d3-a456-426614174000",
    "payment_method": "credit_card",
    "items": [
      {"product_id": "00000000-0000-0000-0000-000000000001", "quantity": 2, "unit_price": 49.90}
    ]}'
"#;

/// `took` is none where everything ran already.
pub fn print(urls: &Urls, took: Option<Duration>) {
    match took {
        Some(took) => say!("\nQuadrille is up, after {:.1} s.\n", took.as_secs_f32()),
        None => say!("\nQuadrille is up already.\n"),
    }
    urls.print();
    say!("\nA first order:\n\n{}", first_order(urls));
}

fn first_order(urls: &Urls) -> String {
    let trust = urls.authority.as_ref().map(|path| format!("--cacert {path} "));
    FIRST_ORDER.replace("URL", &format!("{}{}", trust.unwrap_or_default(), urls.orders))
}
