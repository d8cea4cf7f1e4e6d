//! Prints the addresses and the first commands once everything runs.

use std::net::SocketAddr;
use std::time::Duration;

use kit::keys;
use kit::say;
use kit::settings::Settings;

use crate::urls::{Urls, shown};

const FIRST_ORDER: &str = r#"  curl -i URL -H 'Content-Type: application/json' -d '{
    "customer_id": "123e4567-e89b-12d3-a456-426614174000",
    "payment_method": "credit_card",
    "items": [
      {"product_id": "00000000-0000-0000-0000-000000000001", "quantity": 2, "unit_price": 49.90}
    ]}'
"#;

/// Without the demonstration there is none until an operator puts one there.
const FIRST_PRODUCT: &str = r#"  psql 'URL' -c \
    "INSERT INTO products (id, name, quantity_total)
     VALUES ('00000000-0000-0000-0000-000000000001', 'a product', 100)"
"#;

/// `took` is none where everything ran already.
pub fn print(settings: &Settings, urls: &Urls, took: Option<Duration>) {
    match took {
        Some(took) => say!("\nQuadrille is up, after {:.1} s.\n", took.as_secs_f32()),
        None => say!("\nQuadrille is up already. Other settings take effect after `saga stop`.\n"),
    }
    urls.print();
    if let (false, Some(stock)) = (settings.is_demo, urls.databases.get("inventory")) {
        say!("\nA first product:\n\n{}", FIRST_PRODUCT.replace("URL", stock));
    }
    say!("\nA first order:\n\n{}", first_order(settings, urls));
}

/// For `saga play`.
pub fn play(address: SocketAddr, took: Duration) {
    say!("\nQuadrille plays in this process, ready after {:.2} s.", took.as_secs_f32());
    say!("It forgets everything when it ends; Ctrl-C ends it and checks every invariant.\n");
    say!("  live page  http://{address}/\n  API        http://{address}/docs");
    say!("  invariants http://{address}/verify\n\nA first order:\n");
    say!("{}", FIRST_ORDER.replace("URL", &format!("http://{address}/orders")));
}

fn first_order(settings: &Settings, urls: &Urls) -> String {
    let trust = urls.authority.as_ref().map(|path| format!("--cacert {path} "));
    let url = format!("{}{}", trust.unwrap_or_default(), urls.orders);
    let order = FIRST_ORDER.replace("URL", &url);
    if !settings.are_keys_required {
        return order;
    }
    let bearer = format!("\"Authorization: Bearer $(cat {})\"", shown(&keys::file(settings)));
    order.replacen(" -H ", &format!(" -H {bearer} -H "), 1)
}
